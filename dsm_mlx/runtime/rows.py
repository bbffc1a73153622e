"""The state of all rows of a batch: a tree of arrays, each with the rows on its first axis.

An array may hold several entries a row (with guidance two), but always next to each other, so
that taking out, putting back and growing are the same for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_map

Tree = Any


class Rows:
    """A state of `width` rows, of which some may be out with a step.

    Rows that were out stay out until others are wanted: who steps the same rows again finds them
    as they are, and nothing is copied. All methods belong to the worker's thread.
    """

    def __init__(self, one: Tree):
        """one: the state of a single row, which becomes row 0. It is not changed by us."""
        self._form = tree_map(lambda _: 0, one)
        # An array of its own for each: a write in place must not reach whom it was taken from.
        self._arrays = [mx.stop_gradient(array) for array in _leaves(one)]
        self._out: tuple[list[int], list[mx.array]] | None = None
        self._fresh = one  # it is what it began with, and need not be put again
        self.width = 1

    def take(self, rows: Sequence[int]) -> Tree:
        """The state of these rows (ascending), for a step. `give_back` must follow."""
        rows, self._fresh = list(rows), None
        if self._out is None or self._out[0] != rows:
            self._settle()
            if rows == list(range(self.width)):
                arrays, self._arrays = self._arrays, []
            else:
                arrays = [_cut(array, rows, self.width) for array in self._arrays]
            self._out = rows, arrays
        arrays, self._out = self._out[1], (rows, [])
        return self._tree(arrays)

    def give_back(self, rows: Sequence[int], state: Tree) -> None:
        """The state of the rows that `take` gave, one step later. It may be lazy."""
        self._out = list(rows), _leaves(state)

    def get(self, row: int) -> Tree:
        """A row's state as a value of its own, evaluated."""
        held, at, width = self._arrays, row, self.width
        if self._out and row in self._out[0]:  # where it stays
            held, at, width = self._out[1], self._out[0].index(row), len(self._out[0])
        arrays = [mx.contiguous(_cut(array, [at], width)) for array in held]
        mx.eval(arrays)
        return self._tree(arrays)

    def put(self, row: int, one: Tree) -> None:
        """Overwrite all of a row, so that nothing of who had it before is left."""
        if self._fresh is one and self.width == 1:
            return
        self._settle()
        self._put([row], _leaves(one))

    def grow(self, width: int) -> None:
        """Add rows, one array after another, so that no more than one array exists twice.

        Raises:
            MemoryError: there is none; the rows are as before.
        """
        self._settle()
        before, self.width = self.width, width
        for i, array in enumerate(self._arrays):
            each = array.shape[0] // before
            more = mx.zeros(((width - before) * each, *array.shape[1:]), array.dtype)
            try:
                grown = mx.concatenate([array, more])
                mx.eval(grown)
            except (RuntimeError, MemoryError) as error:
                self.width = before
                for k in range(i):
                    each = self._arrays[k].shape[0] // width
                    self._arrays[k] = mx.contiguous(self._arrays[k][: before * each])
                    mx.eval(self._arrays[k])
                raise MemoryError(f"no memory for {width} rows ({error})") from None
            self._arrays[i] = grown
            del array, more, grown

    def shrink(self, keep: Sequence[int], width: int) -> None:
        """Keep only some rows, which become rows 0, 1, …, and room for `width`."""
        self._settle()
        rows = [*keep, *(row for row in range(self.width) if row not in keep)][:width]
        for i, array in enumerate(self._arrays):
            self._arrays[i] = mx.contiguous(_cut(array, rows, self.width))
            del array
            mx.eval(self._arrays[i])
        self.width = width

    @property
    def nbytes(self) -> int:
        out = self._out[1] if self._out else []
        return sum(array.nbytes for array in (*self._arrays, *out))

    def _settle(self) -> None:
        """Bring home the rows that are out."""
        if self._out is None:
            return
        rows, arrays = self._out
        if not self._arrays:
            self._arrays, self._out = arrays, None
            return
        mx.eval(arrays)  # while they are computed, what they were cut from is in use
        self._out = None
        self._put(rows, arrays)

    def _put(self, rows: list[int], arrays: list[mx.array]) -> None:
        for i, new in enumerate(arrays):
            if not new.size:
                continue
            # A write is in place only if nothing else refers to the array.
            array, self._arrays[i] = self._arrays[i], mx.array(0)
            each = array.shape[0] // self.width
            for first, last, at in _runs(rows):
                array[first * each : last * each] = new[at * each : (at + last - first) * each]
            self._arrays[i] = array
            del array
        mx.async_eval(self._arrays)

    def _tree(self, arrays: list[mx.array]) -> Tree:
        leaves = iter(arrays)
        return tree_map(lambda _: next(leaves), self._form)


def tree_bytes(tree: Tree) -> int:
    """The memory of a state."""
    return sum(array.nbytes for array in _leaves(tree))


def _leaves(tree: Tree) -> list[mx.array]:
    found: list[mx.array] = []
    tree_map(found.append, tree)
    return found


def _cut(array: mx.array, rows: Sequence[int], width: int) -> mx.array:
    """Some rows of an array, by slices: an index would read and write one element at a time."""
    each = array.shape[0] // width
    if not array.size:
        return array[: len(rows) * each]
    parts = [array[first * each : last * each] for first, last, _ in _runs(rows)]
    return parts[0] if len(parts) == 1 else mx.concatenate(parts)


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Neighbours together: [2, 3, 7] -> (2, 4, 0), (7, 8, 2): first, last + 1, place in `rows`."""
    start = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i] != rows[i - 1] + 1:
            yield rows[start], rows[i - 1] + 1, start
            start = i
