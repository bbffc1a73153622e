"""How a model's parameters lie in the tensors of a file, in both directions.

A layout is a list of groups. A group ties some parameters to some tensors: one to one under
another name, one parameter cut out of several tensors, several out of one. From the same table
come the names and shapes that a file must have, the loading, and the writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mlx.core as mx

Shapes = dict[str, tuple[int, ...]]


def _same(*arrays: mx.array) -> list[mx.array]:
    return list(arrays)


@dataclass(frozen=True)
class Group:
    """`load` makes the parameters `names` of the tensors `files`; `save` makes them back.

    files: tensor name -> shape, in the order that `load` takes and `save` gives them.
    blocks: where the group is one parameter in blocks of rows, the block that each file holds.
    divided: the same with such blocks as parameters of their own, where `blocks` cannot tell it.
    """

    names: list[str]
    files: Shapes
    load: Callable[..., list[mx.array]] = _same
    save: Callable[..., list[mx.array]] = _same
    blocks: tuple[int, ...] = ()
    divided: Group | None = None


WeightMap = list[Group]


def expected_shapes(layout: WeightMap) -> Shapes:
    """Every tensor that a file in this layout has, with its shape."""
    return {name: shape for group in layout for name, shape in group.files.items()}


def load(layout: WeightMap, tensors: dict[str, mx.array]) -> dict[str, mx.array]:
    """Tensors of a file -> parameters. Lazy: nothing is read before it is evaluated."""
    return {
        name: array
        for group in layout
        for name, array in zip(
            group.names, group.load(*(tensors[file] for file in group.files)), strict=True
        )
    }


def save(layout: WeightMap, parameters: dict[str, mx.array]) -> dict[str, mx.array]:
    """Parameters -> tensors of a file: the inverse of `load`."""
    return {
        file: array
        for group in layout
        for file, array in zip(
            group.files, group.save(*(parameters[name] for name in group.names)), strict=True
        )
    }


def rename(name: str, file: str, shape: tuple[int, ...]) -> Group:
    """The same tensor under another name."""
    return Group([name], {file: shape})


def reshape(name: str, file: str, shape: tuple[int, ...], file_shape: tuple[int, ...]) -> Group:
    """The same values in another shape."""
    return Group(
        [name],
        {file: file_shape},
        load=lambda w: [w.reshape(shape)],
        save=lambda w: [w.reshape(file_shape)],
    )


def blocks(name: str, files: list[str], of: Sequence[int], shape: tuple[int, ...]) -> Group:
    """One parameter made of blocks of rows of equal height; file k holds block `of[k]`."""
    count = max(of) + 1
    rows = shape[0] // count
    first = [list(of).index(i) for i in range(count)]

    def load(*parts: mx.array) -> list[mx.array]:
        return [parts[0] if count == 1 else mx.concatenate([parts[k] for k in first])]

    def save(whole: mx.array) -> list[mx.array]:
        return [whole if count == 1 else whole[i * rows : (i + 1) * rows] for i in of]

    return Group([name], dict.fromkeys(files, (rows, *shape[1:])), load, save, tuple(of))


def join(name: str, files: list[str], shape: tuple[int, ...]) -> Group:
    """One parameter whose rows are those of several tensors of equal height."""
    return blocks(name, files, range(len(files)), shape)


def split(names: list[str], file: str, shapes: list[tuple[int, ...]]) -> Group:
    """Several parameters that lie one below another in one tensor."""
    starts = [sum(shape[0] for shape in shapes[:i]) for i in range(len(shapes))]
    return Group(
        names,
        {file: (sum(shape[0] for shape in shapes), *shapes[0][1:])},
        load=lambda whole: [
            whole[start : start + shape[0]] for start, shape in zip(starts, shapes, strict=True)
        ],
        save=lambda *parts: [mx.concatenate([*parts])],
    )


def turned(name: str, files: list[str], heads: int, kv_heads: int, shape: tuple[int, ...]) -> Group:
    """One packed [q; k; v] that lies as three tensors, q and k with rows of each head in the order
    in which a rotation of halves wants them, where ours rotates neighbours."""
    width = shape[0] // (heads + 2 * kv_heads)
    rows = heads * width, kv_heads * width, kv_heads * width

    def load(q: mx.array, k: mx.array, v: mx.array) -> list[mx.array]:
        parts = [w.reshape(-1, 2, width // 2, *w.shape[1:]).swapaxes(1, 2) for w in (q, k)]
        q, k = (w.reshape(-1, *shape[1:]) for w in parts)
        return [mx.concatenate([q, k, v])]

    def save(whole: mx.array) -> list[mx.array]:
        q, k, v = mx.split(whole, [rows[0], rows[0] + rows[1]])
        parts = [w.reshape(-1, width // 2, 2, *w.shape[1:]).swapaxes(1, 2) for w in (q, k)]
        return [*(w.reshape(-1, *shape[1:]) for w in parts), v]

    shapes = [(count, *shape[1:]) for count in rows]
    return Group([name], dict(zip(files, shapes, strict=True)), load, save)


def repeat(name: str, files: list[str], shape: tuple[int, ...]) -> Group:
    """One parameter that the file holds several times."""
    return blocks(name, files, [0] * len(files), shape)


def apart(layout: WeightMap) -> WeightMap:
    """The same with every block a parameter of its own, so that none need be whole in memory.

    Block i of parameter `name` is called `name#i`.
    """
    groups = []
    for group in layout:
        if not group.blocks or max(group.blocks) == 0:
            groups.append(group.divided or group)
            continue
        for i in range(max(group.blocks) + 1):
            files = [file for file, of in zip(group.files, group.blocks, strict=True) if of == i]
            groups.append(repeat(f"{group.names[0]}#{i}", files, group.files[files[0]]))
    return groups
