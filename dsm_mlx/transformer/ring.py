"""The ring KV cache: fixed size, one position counter a row, validity as a mask.

A row that has seen `offset` positions writes position p into slot `p % ring`. Nothing but
`offset` says what is valid, so resetting a row is setting its offset to 0, and a row that rests
simply does not advance: what it wrote meanwhile lies in a slot whose old position had already
left the window, and the next real write covers it.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx


class Window(NamedTuple):
    """Where the new positions of one step go and what they may see.

    offset: int32 (batch,), the position of the first new query.
    slots:  int32 (batch, steps), ring slot of each new position.
    mask:   bool (batch, 1, steps, ring), True where a key is visible.
    """

    offset: mx.array
    slots: mx.array
    mask: mx.array

    @classmethod
    def of(cls, offset: mx.array, steps: int, context: int, ring: int) -> Window:
        """The window of `steps` new positions: a key is visible if 0 <= query - key < context.

        `ring` must be at least `context + steps - 1`, so that writing the last new position
        does not cover a key that the first one still sees.
        """
        if ring < context + steps - 1:
            raise ValueError(f"a ring of {ring} slots is too small for {steps} steps of {context}")
        queries = offset[:, None] + mx.arange(steps, dtype=mx.int32)
        last = queries[:, -1:]
        keys = last - (last - mx.arange(ring, dtype=mx.int32)) % ring
        distance = queries[:, :, None] - keys[:, None, :]
        visible = (keys[:, None, :] >= 0) & (distance >= 0) & (distance < context)
        return cls(offset, queries % ring, visible[:, None])


# A cache is one array, or in 8 bits (packed values, scales, biases) in groups of `_GROUP`.
Cache = mx.array | tuple[mx.array, mx.array, mx.array]
_GROUP = 32


def empty(shape: tuple[int, ...], dtype: mx.Dtype, bits: int | None = None) -> Cache:
    """A cache (batch, heads, ring, head_dim) of zeros; dtype: of its values or of its scales.

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
    return (cache if isinstance(cache, mx.array) else cache[0]).shape[2]


def write(cache: Cache, slots: mx.array, values: mx.array) -> Cache:
    """Put `values` (batch, heads, steps, head_dim) into `slots` of `cache` (…, ring, head_dim).

    In place when the caller holds no other reference to `cache`.
    """
    if isinstance(cache, mx.array):
        return _put(cache, slots, values)
    parts = mx.quantize(values, _GROUP, 8)
    return tuple(_put(old, slots, new) for old, new in zip(cache, parts, strict=True))


def _put(cache: mx.array, slots: mx.array, values: mx.array) -> mx.array:
    index = mx.broadcast_to(slots[:, None, :, None], values.shape)
    return mx.put_along_axis(cache, index, values.astype(cache.dtype), axis=2)


def attend(q: mx.array, k: Cache, v: Cache, mask: mx.array | None = None) -> mx.array:
    """Attention of queries (batch, heads, steps, head_dim) over two caches -> the same shape."""
    scale = q.shape[-1] ** -0.5
    if isinstance(k, mx.array):
        k, v = k.astype(q.dtype), v.astype(q.dtype)
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask)
    scores = mx.quantized_matmul(q * scale, *k, transpose=True, group_size=_GROUP, bits=8)
    weights = mx.softmax(mx.where(mask, scores, -mx.inf), axis=-1, precise=True)
    return mx.quantized_matmul(weights, *v, transpose=False, group_size=_GROUP, bits=8)


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
