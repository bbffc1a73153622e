"""The depth decoder: one frame's audio codes, codebook after codebook.

For each codebook ("slice") a small transformer runs over the slices of the same frame so far;
between frames it keeps nothing. Some of its weights differ from slice to slice, and slices may
share them: `schedule[k]` is the weight set that slice k uses. A set is stored once.

Reference: `forward_depformer` and `depformer_step` in moshi/models/lm.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.lm.config import DepthConfig, LmConfig
from dsm_mlx.lm.embedding import (
    DemuxEmbedding,
    LowRankEmbedding,
    TokenEmbedding,
    added,
    keep_rows,
    unpacked,
)
from dsm_mlx.lm.sampling import choose
from dsm_mlx.runtime.device import compiles, start_early, together, total
from dsm_mlx.transformer.attention import plus
from dsm_mlx.transformer.block import SwiGLU, make_norm

Past = tuple[mx.array, int]
"""Keys and values of a layer, (rows, heads, 2, slices, head_dim), and how many slices are there."""


class DepthAttention(nn.Module):
    """Self-attention over the slices of a frame; no positions, no mask: what is there is past."""

    def __init__(self, config: DepthConfig, sets: int):
        super().__init__()
        dim = config.dim
        self.heads, self.kv_repeat = config.heads, config.kv_repeat
        width = dim + 2 * (dim // self.kv_repeat)
        self.in_proj = [nn.Linear(dim, width, bias=False) for _ in range(sets)]
        self.out_proj = [nn.Linear(dim, dim, bias=False) for _ in range(sets)]

    def __call__(self, x: mx.array, y: mx.array, weights: int, past: Past):
        """x + attention of y, both (rows, dim) -> the same shape, past with one slice more."""
        rows, dim = y.shape
        buffer, n = past
        repeat, kv_heads = self.kv_repeat, self.heads // self.kv_repeat
        shape = rows, repeat + 2, kv_heads, 1, dim // self.heads
        qkv = self.in_proj[weights](y).reshape(shape)
        q, kv = qkv[:, 0], qkv[:, repeat:].swapaxes(1, 2)
        if repeat > 1:
            q = qkv[:, :repeat].reshape(rows, self.heads, 1, shape[-1])
        buffer = _with(buffer, n, kv)
        if n:
            k, v = buffer[:, :, 0, : n + 1], buffer[:, :, 1, : n + 1]
            y = mx.fast.scaled_dot_product_attention(q, k, v, scale=q.shape[-1] ** -0.5)
        else:
            y = kv[:, :, 1]  # all attention is on the only slice there is
            y = mx.repeat(y, repeat, axis=1) if repeat > 1 else y
        return plus(x, self.out_proj[weights], y.reshape(rows, dim)), (buffer, n + 1)


def _with(buffer: mx.array, n: int, kv: mx.array) -> mx.array:
    """The keys and values of slice `n`, (rows, heads, 2, 1, head_dim), in their place.

    On a GPU a write into a part of what earlier slices' attention has read copies all of it first,
    with a kernel of its own: choosing at every place is one kernel and no copy.
    """
    if compiles():
        return mx.where(_place(n, buffer.shape[3]), kv, buffer)
    buffer[:, :, :, n : n + 1] = kv
    return buffer


@lru_cache(maxsize=128)
def _place(n: int, slots: int) -> mx.array:
    """bool (slots, 1), True at `n`, as a constant of the graph."""
    return mx.array([[slot == n] for slot in range(slots)])


class DepthBlock(nn.Module):
    """A transformer block whose projections depend on the slice and whose norms do not."""

    def __init__(self, config: DepthConfig, sets: int):
        super().__init__()
        self.norm1 = make_norm(config.norm, config.dim)
        self.self_attn = DepthAttention(config, sets)
        self.norm2 = make_norm(config.norm, config.dim)
        self.gating = [SwiGLU(config.dim, config.hidden) for _ in range(sets)]

    def __call__(self, x: mx.array, weights: int, past: Past):
        """x (rows, dim) -> the same shape, past with one slice more."""
        x, past = self.self_attn(x, self.norm1(x), weights, past)
        return self.gating[weights](x, self.norm2(x)), past


class DepthDecoder(nn.Module):
    """Weights only; nothing is remembered between frames.

    Parameter names: the projections of the main model's output for all weight sets are the rows
    of one matrix, `linear_in` (one matmul a frame); what belongs to weight set s is
    `layers.i.self_attn.in_proj.s`, `.out_proj.s` and `layers.i.gating.s`; norms are shared;
    `embs.k` embeds codebook k for the slice after it, `linear_out.k` gives its logits.
    `dsm_mlx.lm.depth_layout` ties them to the files.
    """

    def __init__(self, config: LmConfig, depth: DepthConfig):
        """depth: of `config`, which has one."""
        super().__init__()
        dim, sets = depth.dim, max(depth.schedule) + 1
        self.config, self.card = depth, config.card
        inputs = sets if depth.multi_linear else 1
        self.linear_in = nn.Linear(config.dim, inputs * dim, bias=False)
        text_rows = self.text_rows = config.text_card + 1
        if config.demux_second_stream:
            text_emb: nn.Module = DemuxEmbedding(text_rows, depth.low_rank or dim, dim)
            if depth.low_rank:
                # Never applied, but the files hold it.
                text_emb.low_rank = nn.Linear(depth.low_rank, dim, bias=False)
        else:
            text_emb = _embedding(text_rows, depth)
        self.text_emb = text_emb
        # The last codebook is never an input.
        self.embs = [_embedding(config.card + 1, depth) for _ in depth.schedule[1:]]
        self.layers = [DepthBlock(depth, sets) for _ in range(depth.layers)]
        self.linear_out = [nn.Linear(dim, config.card, bias=False) for _ in depth.schedule]

    def keep_codebooks(self, config: DepthConfig) -> None:
        """Keep only what a shorter schedule, the beginning of the present one, needs."""
        sets = max(config.schedule) + 1
        if config.multi_linear:
            keep_rows(self.linear_in, sets * config.dim)
        self.embs = self.embs[: len(config.schedule) - 1]
        self.linear_out = self.linear_out[: len(config.schedule)]
        for layer in self.layers:
            layer.gating = layer.gating[:sets]
            attention = layer.self_attn
            attention.in_proj = attention.in_proj[:sets]
            attention.out_proj = attention.out_proj[:sets]
        self.config = config

    def prepare(self, dtype: mx.Dtype) -> Iterator[None]:
        """Unpack the embeddings, one after another. dtype: of the activations."""
        self.text_emb = unpacked(self.text_emb, self.text_rows, dtype)
        for k, embedding in enumerate(self.embs):
            self.embs[k] = unpacked(embedding, self.card + 1, dtype)
            mx.eval(self.embs[k].parameters())
            yield

    @property
    def noise_size(self) -> int:
        """How many random numbers a row needs for a frame."""
        return len(self.config.schedule) * self.card

    def __call__(
        self,
        text: mx.array,
        hidden: mx.array,
        noise: mx.array,
        *,
        top_k: int = 250,
        guidance: mx.array | None = None,
    ) -> tuple[mx.array, mx.array]:
        """The codes of one frame; nothing leaves the device.

        text: int32 (batch,), the frame's text token.
        hidden: (batch, main dim), the main model's output; with guidance (2 * batch, main dim),
        for each row first with the conditions, then without.
        noise: float32 (batch, noise_size), of `sampling.gumbel`, times the temperature.
        guidance: float32 (batch,), see `guide`.
        Returns int32 (batch, codebooks), and bool (batch,), whether they come from numbers.
        """
        noise = noise.reshape(text.shape[0], len(self.config.schedule), self.card)
        inputs = self.linear_in(hidden)
        past = self.no_past(inputs)
        codes: list[mx.array] = []
        seen: list[mx.array] = []
        for k in range(len(self.config.schedule)):
            logits, past = self.slice(k, codes[-1] if k else text, inputs, past)
            logits = guide(logits, guidance)
            codes.append(choose(logits, noise[:, k], top_k))
            seen.append(logits)
            start_early(codes[-1])
        # A sum: one that is no number makes it none. Of the logits' own type, for fewer kernels.
        return together(codes).astype(mx.int32), mx.isfinite(total(seen)).all(axis=-1)

    def no_past(self, inputs: mx.array) -> list[Past]:
        """What `slice` takes for the first slice. inputs: what `linear_in` gave."""
        depth = self.config
        width = depth.dim // depth.heads
        kv_heads = depth.heads // depth.kv_repeat
        shape = inputs.shape[0], kv_heads, 2, len(depth.schedule), width
        return [(mx.broadcast_to(mx.array(0, inputs.dtype), shape), 0) for _ in self.layers]

    def slice(self, k: int, token: mx.array, inputs: mx.array, past: list):
        """Logits of codebook k, given the token of the slice before.

        token: of a whole type, (batch,). inputs: (rows, ...), what `linear_in` gave; rows may be
        twice the batch. past: for each layer that of the slices before, at first of `no_past`.
        Returns (rows, card) and the new past.
        """
        weights, dim = self.config.schedule[k], self.config.dim
        if inputs.shape[0] != token.shape[0]:
            token = mx.repeat(token, 2)
        start = weights * dim if self.config.multi_linear else 0
        x = inputs[:, start : start + dim]
        x = added(x, self.embs[k - 1] if k else self.text_emb, token)
        new = []
        for layer, old in zip(self.layers, past, strict=True):
            x, kv = layer(x, weights, old)
            new.append(kv)
        return self.linear_out[k](x), new


def guide(logits: mx.array, guidance: mx.array | None) -> mx.array:
    """Classifier-free guidance: null + guidance * (conditioned - null).

    logits: (2 * batch, card), of each row first the conditioned ones. guidance: float32 (batch,);
    None returns the logits as they are.
    """
    if guidance is None:
        return logits
    logits = logits.astype(mx.float32)
    conditioned, null = logits[0::2], logits[1::2]
    return null + guidance[:, None] * (conditioned - null)


def _embedding(rows: int, depth: DepthConfig) -> nn.Module:
    if depth.low_rank:
        return LowRankEmbedding(rows, depth.low_rank, depth.dim)
    return TokenEmbedding(rows, depth.dim)
