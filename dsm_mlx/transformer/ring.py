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


def write(cache: mx.array, slots: mx.array, values: mx.array) -> mx.array:
    """Put `values` (batch, heads, steps, head_dim) into `slots` of `cache` (…, ring, head_dim).

    In place when the caller holds no other reference to `cache`.
    """
    index = mx.broadcast_to(slots[:, None, :, None], values.shape)
    return mx.put_along_axis(cache, index, values.astype(cache.dtype), axis=2)


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
