"""The primitives of a step, with the shapes and types that they work on. Nothing is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import mlx.core as mx
from benchmark.graph import VIEWS, kernels_of_a_gpu
from mlx.utils import tree_flatten, tree_map

from metal_audit import layout


class Array(NamedTuple):
    """shape, strides (both in elements), dtype: of an array of a graph."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: mx.Dtype

    @property
    def transposed(self) -> bool:
        """Whether it is a matrix whose columns follow each other."""
        return self.strides[-2] == 1 and self.strides[-1] != 1

    @property
    def in_rows(self) -> bool:
        return layout.in_rows(self.shape, self.strides)


@dataclass(frozen=True)
class Node:
    """One primitive: `arguments` is its state, as MLX's `export_function` gives it; for what a GPU
    alone has a kernel for, the keyword arguments of the call. copied: a view that can only be a
    copy."""

    name: str
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    arguments: tuple | dict
    copied: bool = False

    @property
    def is_view(self) -> bool:
        return self.name in VIEWS


def nodes(function: Callable, inputs: tuple) -> list[Node]:
    """The primitives of `function`, of trees of arrays to trees of arrays, as they are on a GPU
    before anything is fused."""
    calls: list[tuple[str, dict]] = []
    known: list[dict] = []

    def of_arrays(*arrays):
        rest = iter(arrays)
        return [a for _, a in tree_flatten(function(*tree_map(lambda _: next(rest), inputs)))]

    def keep(node: dict) -> None:
        if node["type"] == "primitive":
            known.append(node)

    with kernels_of_a_gpu(calls):
        mx.export_function(keep, of_arrays, *(array for _, array in tree_flatten(inputs)))
    return _Reader(calls).read(known)


class _Reader:
    """Follows how arrays lie in memory, in the order of a graph."""

    def __init__(self, calls: list[tuple[str, dict]]):
        self._calls = calls
        self._strides: dict[str, tuple[int, ...]] = {}
        self._standing: dict[str, dict] = {}  # what stand-ins depend on, by the array

    def read(self, known: list[dict]) -> list[Node]:
        found = []
        for node in known:
            if node["name"] == "Depends":  # nothing of ours, but of a stand-in
                self._standing |= {letter: node for letter, _, _ in node["outputs"]}
            else:
                found.append(self._node(node))
        return found

    def _node(self, node: dict) -> Node:
        name, given, arguments = node["name"], node["inputs"], tuple(node["arguments"])
        if name == "Sort" and given[0][0] in self._standing:
            *given, (_, (_, number), _) = self._standing[given[0][0]]["inputs"]
            name, arguments = self._calls[number - 1]
        inputs = tuple(map(self._array, given))
        copied = False
        for letter, shape, _ in node["outputs"]:
            strides = layout.rows(tuple(shape))
            if name in VIEWS:
                source = inputs[0].shape, inputs[0].strides
                viewed = layout.of_view(name, arguments, source, tuple(shape))
                copied, strides = viewed is None, viewed or strides
            self._strides[letter] = strides
        return Node(name, inputs, tuple(map(self._array, node["outputs"])), arguments, copied)

    def _array(self, named: tuple) -> Array:
        letter, shape, dtype = named
        shape = tuple(shape)
        return Array(shape, self._strides.get(letter, layout.rows(shape)), dtype)
