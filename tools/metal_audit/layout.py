"""How arrays lie in memory behind views, so that hidden copies show.

After mlx/backend/common/common.cpp and utils.cpp: a reshape of what does not lie in rows is a copy
(`prepare_reshape`), all other views cost nothing.
"""

from __future__ import annotations

from itertools import accumulate
from math import prod

Shape = tuple[int, ...]


def rows(shape: Shape) -> Shape:
    """The strides of an array whose rows follow each other."""
    return tuple(accumulate(reversed(shape[1:]), int.__mul__, initial=1))[::-1] if shape else ()


def in_rows(shape: Shape, strides: Shape) -> bool:
    """Whether it lies so; an axis of length 1 does not count."""
    pairs = zip(shape, strides, rows(shape), strict=True)
    return all(size == 1 or stride == expected for size, stride, expected in pairs)


def of_view(name: str, arguments: tuple, source: tuple[Shape, Shape], shape: Shape) -> Shape | None:
    """The strides of a view of `source`, (shape, strides); None if it can only be a copy."""
    old, strides = source
    if name == "Transpose":
        return tuple(strides[axis] for axis in arguments[0])
    if name == "AsStrided":
        return tuple(arguments[1])
    if name == "Slice":
        return tuple(stride * step for stride, step in zip(strides, arguments[2], strict=True))
    if name.startswith("Broadcast"):
        missing = len(shape) - len(old)
        spread = zip(shape[missing:], old, strides, strict=True)
        return (0,) * missing + tuple(
            0 if size != before else stride for size, before, stride in spread
        )
    if shape == old or name == "Split":
        return strides
    return _reshaped(old, strides, shape)


def _reshaped(old: Shape, strides: Shape, shape: Shape) -> Shape | None:
    if prod(shape) <= 1 or in_rows(old, strides):
        return rows(shape)
    blocks: list[tuple[int, int]] = []  # lengths, strides: axes that follow each other are one
    for size, stride in zip(old, strides, strict=True):
        if size == 1:
            continue
        if blocks and blocks[-1][1] == size * stride:
            blocks[-1] = (blocks[-1][0] * size, stride)
        else:
            blocks.append((size, stride))
    found, rest, stride = [], 1, 1
    for size in shape:
        if rest == 1 and size > 1:
            rest, stride = blocks.pop(0)
        if rest % size:
            return None
        rest //= size
        found.append(rest * stride)
    return tuple(found)
