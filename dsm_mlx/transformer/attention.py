"""Self-attention over a ring cache, and cross-attention over fixed keys and values."""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.transformer.ring import Cache, Window, attend, keys_and_values, write


def split_heads(x: mx.array, heads: int) -> mx.array:
    """(batch, steps, heads * head_dim) -> (batch, heads, steps, head_dim)."""
    batch, steps, _ = x.shape
    return x.reshape(batch, steps, heads, -1).swapaxes(1, 2)


def merge_heads(x: mx.array) -> mx.array:
    """(batch, heads, steps, head_dim) -> (batch, steps, heads * head_dim)."""
    batch, _, steps, _ = x.shape
    return x.swapaxes(1, 2).reshape(batch, steps, -1)


def in_order(q: mx.array) -> mx.array:
    """Queries as they lie beside fewer keys, (batch, heads / repeat, repeat, steps, head_dim) with
    the heads counted along `repeat` last -> (batch, heads, steps, head_dim)."""
    batch, fewer, repeat, steps, width = q.shape
    return q.swapaxes(1, 2).reshape(batch, repeat * fewer, steps, width)


def plus(x: mx.array, linear: nn.Module, y: mx.array) -> mx.array:
    """x + linear(y); one kernel where the weights are no packed ones."""
    if isinstance(linear, nn.QuantizedLinear):
        return x + linear(y)
    return mx.addmm(x, y, linear.weight.T)


class Attention(nn.Module):
    """Causal windowed self-attention with rotary positions.

    Reference: StreamingMultiheadAttention.

    `in_proj` packs [q; k; v], q of heads x head_dim; of keys and values there are as many heads, or
    one for `kv_repeat` neighbours of q's. RoPE is interleaved (`traditional`).
    """

    def __init__(self, dim: int, heads: int, max_period: float | None, kv_repeat: int = 1):
        super().__init__()
        self.heads, self.kv_repeat = heads, kv_repeat
        self.max_period = max_period
        self.in_proj = nn.Linear(dim, dim + 2 * (dim // kv_repeat), bias=False)
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def __call__(
        self, x: mx.array, y: mx.array, ring: Cache, window: Window
    ) -> tuple[mx.array, Cache]:
        """x + attention of y, both (batch, steps, dim); the ring with what y has brought."""
        batch, steps, dim = y.shape
        repeat, kv_heads = self.kv_repeat, self.heads // self.kv_repeat
        shape = batch, steps, repeat + 2, kv_heads, dim // self.heads
        qkv = self.in_proj(y)
        if self.max_period is not None:
            qkv = mx.fast.rope(
                qkv.reshape(-1, kv_heads, 1, shape[-1]),
                shape[-1],
                traditional=True,
                base=self.max_period,
                scale=1.0,
                offset=window.turns,
            )
        qkv = qkv.reshape(shape).transpose(0, 3, 2, 1, 4)
        ring = write(ring, window.slots, qkv[:, :, repeat:])
        q = qkv[:, :, 0] if repeat == 1 else in_order(qkv[:, :, :repeat])
        attended = attend(q, *keys_and_values(ring, window.mask.shape[-1]), window.mask)
        return plus(x, self.out_proj, merge_heads(attended)), ring


Group = tuple[Sequence[int], dict]
"""Rows that attend to the same condition, and its keys and values: {"k", "v"} (1 or rows, heads,
length, head_dim)."""


class CrossAttention(nn.Module):
    """Attention over a condition that does not change in a session.

    Reference: StreamingMultiheadAttention with `cross_attention`. The packed `in_proj` of the files
    is kept as `q_proj` and `kv_proj`, because the queries are needed every step and the keys and
    values once.
    """

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.kv_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.out_proj = nn.Linear(dim, dim, bias=False)

    def keys_values(self, condition: mx.array) -> dict:
        """condition (batch, length, dim) -> {"k", "v"} (batch, heads, length, head_dim)."""
        kv = split_heads(self.kv_proj(condition), 2 * self.heads)
        return {"k": kv[:, : self.heads], "v": kv[:, self.heads :]}

    def __call__(self, x: mx.array, y: mx.array, groups: Sequence[Group]) -> mx.array:
        """x + attention of y, both (batch, steps, dim); every row is in one of the groups."""
        q = self.q_proj(y)
        if len(groups) == 1:
            return plus(x, self.out_proj, self._attend(q, groups[0][1]))
        parts = [self._attend(q[mx.array(list(rows))], kv) for rows, kv in groups]
        order = [row for rows, _ in groups for row in rows]
        back = mx.array([order.index(row) for row in range(len(order))])
        return plus(x, self.out_proj, mx.concatenate(parts)[back])

    def _attend(self, q: mx.array, kv: dict) -> mx.array:
        """Queries (rows, steps, dim) of rows that share their keys and values are as good as
        steps of one row: nothing is masked here."""
        shape = q.shape
        if kv["k"].shape[0] != shape[0]:
            q = q.reshape(1, shape[0] * shape[1], shape[2])
        y = attend(split_heads(q, self.heads), kv["k"], kv["v"])
        return merge_heads(y).reshape(shape)
