"""The ring KV cache: fixed size, one position counter a row, validity as a mask.

A row that has seen `offset` positions writes position p into slot `p % ring`. Nothing but
`offset` says what is valid, so resetting a row is setting its offset to 0, and a row that rests
simply does not advance: what it wrote meanwhile lies in a slot whose old position had already
left the window, and the next real write covers it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import mlx.core as mx
import numpy as np


class Window(NamedTuple):
    """Where the new positions of one step go and what they may see.

    slots:  int32 (batch, steps), ring slot of each new position.
    mask:   bool (batch, 1, steps, seen), True where a key is visible.
    turns:  int32 (batch * steps * (repeat + 2),), by which position queries, keys and values are
            rotated. For values that is 0, which leaves them as they are: so one kernel rotates all.
    """

    slots: mx.array
    mask: mx.array
    turns: mx.array

    @classmethod
    def of(
        cls,
        offset: mx.array,
        steps: int,
        context: int,
        ring: int,
        seen: int | None = None,
        repeat: int = 1,
    ) -> Window:
        """The window of `steps` new positions: a key is visible if 0 <= query - key < context.

        offset: int32 (batch,), the position of the first new query.
        `ring` must be at least `context + steps - 1`, so that writing the last new position
        does not cover a key that the first one still sees.
        seen: how many slots are looked at, see `reach`; None: all.
        repeat: how many heads of queries share one of keys and values.
        """
        if ring < context + steps - 1:
            raise ValueError(f"a ring of {ring} slots is too small for {steps} steps of {context}")
        slots = (offset[:, None] + count(steps)) % ring
        # All from the offset, in the mask's own shape: a GPU computes it in one kernel.
        first = offset.reshape(-1, 1, 1, 1)
        last = first + (steps - 1)
        keys = last - (last - count(seen or ring)) % ring
        queries = first + count(steps)[:, None]
        visible = (keys >= 0) & (queries >= keys) & (queries - keys < context)
        positions = offset[:, None, None] + count(steps)[:, None]
        turns = (positions * mx.array([1] * (repeat + 1) + [0], mx.int32)).reshape(-1)
        return cls(slots, visible, turns)


@lru_cache(maxsize=64)
def count(length: int) -> mx.array:
    """int32 0, 1, 2, …, as a constant: an `mx.arange` would be a kernel in every step."""
    return mx.array(np.arange(length, dtype=np.int32))


# Keys and values of a layer, (batch, heads, 2, ring, head_dim), so that a step writes both at once
# and each is as good as an array of its own for a kernel that reads it. One array, or in 8 bits
# (packed values, scales, biases) in groups of `_GROUP`.
Packed = tuple[mx.array, mx.array, mx.array]
Cache = mx.array | Packed
_GROUP = 32
_BLOCK = 32  # slots that are looked at are a multiple of it: sums are then taken in the same order


def empty(shape: tuple[int, ...], dtype: mx.Dtype, bits: int | None = None) -> Cache:
    """A cache of zeros; dtype: of its values or of its scales.

    ValueError if `bits` is 8 and the width of a head is not a multiple of 32.
    """
    if bits is None:
        return mx.zeros(shape, dtype)
    *rest, width = shape
    if bits != 8 or width % _GROUP:
        raise ValueError(f"a cache of {bits} bits for heads of width {width} (expected 8 and n*32)")
    groups = (*rest, width // _GROUP)
    return (
        mx.zeros((*rest, width // 4), mx.uint32),
        mx.zeros(groups, dtype),
        mx.zeros(groups, dtype),
    )


def size(cache: Cache) -> int:
    """How many slots a cache has."""
    return (cache if isinstance(cache, mx.array) else cache[0]).shape[3]


def write(cache: Cache, slots: mx.array, values: mx.array) -> Cache:
    """Put `values` (batch, heads, 2, steps, head_dim) into `slots` of `cache`.

    In place when the caller holds no other reference to `cache`.
    """
    if isinstance(cache, mx.array):
        return _put(cache, slots, values)
    packed, scales, biases = mx.quantize(values, _GROUP, 8)
    return (
        _put(cache[0], slots, packed),
        _put(cache[1], slots, scales),
        _put(cache[2], slots, biases),
    )


def _put(cache: mx.array, slots: mx.array, values: mx.array) -> mx.array:
    index = mx.broadcast_to(slots[:, None, None, :, None], values.shape)
    return mx.put_along_axis(cache, index, values.astype(cache.dtype), axis=3)


def shortened(cache: Cache, slots: int) -> Cache:
    """A copy of the first slots alone."""
    return _each(cache, lambda part: mx.contiguous(part[:, :, :, :slots]))


def lengthened(cache: Cache, slots: int) -> Cache:
    """So many slots, of which the last ones are empty. Lazy."""
    missing = slots - size(cache)
    return _each(cache, lambda part: mx.pad(part, [(0, 0), (0, 0), (0, 0), (0, missing), (0, 0)]))


def keys_and_values(cache: Cache, seen: int) -> tuple[Cache, Cache]:
    """The two parts of a cache's first slots, as views (batch, heads, seen, head_dim)."""
    if isinstance(cache, mx.array):
        return cache[:, :, 0, :seen], cache[:, :, 1, :seen]
    keys = _each(cache, lambda part: part[:, :, 0, :seen])
    return keys, _each(cache, lambda part: part[:, :, 1, :seen])


def _each(cache: Cache, made: Callable[[mx.array], mx.array]) -> Cache:
    """The same of every array of a cache."""
    if isinstance(cache, mx.array):
        return made(cache)
    packed, scales, biases = cache
    return made(packed), made(scales), made(biases)


def reach(positions: int, ring: int) -> int | None:
    """How many slots a step has to look at when no row has more than so many positions: a quarter
    or half of the ring, or None, which means all. Few sizes, because each is a graph of its own."""
    for part in (4, 2):
        slots = -(-ring // (part * _BLOCK)) * _BLOCK
        if positions <= slots < ring:
            return slots
    return None


def attend(q: mx.array, k: Cache, v: Cache, mask: mx.array | None = None) -> mx.array:
    """Attention of queries (batch, heads, steps, head_dim) over keys and values; the same shape.

    Of keys and values there may be fewer heads, each for as many neighbours of the queries'.
    """
    scale = q.shape[-1] ** -0.5
    if isinstance(k, mx.array) and isinstance(v, mx.array):
        k, v = k.astype(q.dtype), v.astype(q.dtype)
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    if isinstance(k, mx.array) or isinstance(v, mx.array):
        raise TypeError("of keys and values only one is in 8 bits")
    batch, heads, steps, width = q.shape
    shared = (batch, k[0].shape[1], -1)  # the rows of neighbours below one another
    q = (q * scale).reshape(*shared, width)
    scores = mx.quantized_matmul(q, *k, transpose=True, group_size=_GROUP, bits=8)
    scores = scores.reshape(batch, heads, steps, -1)
    if mask is not None:
        scores = mx.where(mask, scores, -mx.inf)
    weights = mx.softmax(scores, axis=-1, precise=True)
    weights = weights.reshape(*shared, weights.shape[-1])
    y = mx.quantized_matmul(weights, *v, transpose=False, group_size=_GROUP, bits=8)
    return y.reshape(batch, heads, steps, width)


def select_rows(rows: mx.array, new, old):
    """Per-row choice between two states: `new` where `rows` (bool, (batch,)) is True, else `old`.

    Every array has the batch as its first axis. Rings are taken from `new` as they are: their
    content counts only where the offset says so (see the head of this file).
    """
    if isinstance(new, dict):
        return {
            key: value if key == "rings" else select_rows(rows, value, old[key])
            for key, value in new.items()
        }
    if isinstance(new, list):
        return [select_rows(rows, a, b) for a, b in zip(new, old, strict=True)]
    return mx.where(rows.reshape(-1, *[1] * (new.ndim - 1)), new, old)
