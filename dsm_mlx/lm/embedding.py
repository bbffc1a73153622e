"""Token embeddings in which token -1 is exactly zero, also when quantised."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class TokenEmbedding(nn.Embedding):
    """A table of embeddings; a negative token gives exactly 0 (reference: ScaledEmbedding)."""

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim)."""
        rows = super().__call__(mx.maximum(tokens, 0))
        return mx.where((tokens < 0)[..., None], mx.zeros((), rows.dtype), rows)

    def to_quantized(self, group_size=None, bits=None, mode="affine", **_):
        return QuantizedTokenEmbedding.of(self, group_size, bits, mode)


class QuantizedTokenEmbedding(nn.QuantizedEmbedding):
    """The same with quantised rows; the zero of token -1 stays exact."""

    @classmethod
    def of(cls, table: TokenEmbedding, group_size, bits, mode) -> QuantizedTokenEmbedding:
        quantized = nn.QuantizedEmbedding.from_embedding(table, group_size, bits, mode)
        quantized.__class__ = cls
        return quantized

    def __call__(self, tokens: mx.array) -> mx.array:
        at = mx.maximum(tokens, 0)
        # Scales may be narrower than the activations; in some modes they are no floats at all.
        scales = {name: self[name][at] for name in ("scales", "biases") if name in self}
        if self.mode == "affine":
            scales = {name: array.astype(mx.float32) for name, array in scales.items()}
        rows = mx.dequantize(
            self.weight[at],
            **scales,
            group_size=self.group_size,
            bits=self.bits,
            mode=self.mode,
        )
        return mx.where((tokens < 0)[..., None], mx.zeros((), rows.dtype), rows)


class AudioEmbedding(TokenEmbedding):
    """One table for all codebooks, so that the sum over them is a single gather."""

    def __init__(self, n_q: int, card: int, dim: int):
        super().__init__(n_q * (card + 1), dim)


def audio_rows(codes: mx.array, card: int) -> mx.array:
    """codes (batch, n_q) -> rows of the joint table; -1 stays -1."""
    starts = mx.arange(codes.shape[1], dtype=mx.int32) * (card + 1)
    return mx.where(codes < 0, -1, codes + starts)


class DemuxEmbedding(nn.Module):
    """Two text streams in one token: left = t mod rows, right = t div rows - 1.

    y = out1(left) + out2(right), without the second part where right < 0; token -1 gives 0
    (reference: ScaledEmbedding with demux_second_stream; its `low_rank` is never applied).
    """

    def __init__(self, rows: int, width: int, dim: int):
        super().__init__()
        self.rows = rows
        self.table = TokenEmbedding(rows, width)
        self.out1 = nn.Linear(width, dim, bias=False)
        self.out2 = nn.Linear(width, dim, bias=False)

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim)."""
        left = mx.where(tokens < 0, -1, tokens % self.rows)
        right = mx.where(tokens < 0, -1, tokens // self.rows - 1)
        return self.out1(self.table(left)) + self.out2(self.table(right))


class LowRankEmbedding(nn.Module):
    """A narrow table and a projection; token -1 gives exactly 0 (reference: ScaledEmbedding)."""

    def __init__(self, rows: int, width: int, dim: int):
        super().__init__()
        self.table = TokenEmbedding(rows, width)
        self.low_rank = nn.Linear(width, dim, bias=False)

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim)."""
        return self.low_rank(self.table(tokens))


class CodeTable(nn.Module):
    """Embeddings of codes that exist (no -1), as the rows of one matrix: a gather and no more.

    What a narrow table, packed or not, and its projection give for every code, computed once.
    """

    def __init__(self, embedding: nn.Module, rows: int, dtype: mx.Dtype):
        super().__init__()
        self.weight = embedding(mx.arange(rows, dtype=mx.int32)).astype(dtype)

    def __call__(self, codes: mx.array) -> mx.array:
        """Codes (...), of any whole type -> (..., dim)."""
        return self.weight[codes]
