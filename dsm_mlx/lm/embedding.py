"""Token embeddings in which token -1 is exactly zero, also when quantised."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.transformer.attention import plus
from dsm_mlx.transformer.ring import count


class TokenEmbedding(nn.Embedding):
    """A table of embeddings; a negative token gives exactly 0 (reference: ScaledEmbedding)."""

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim)."""
        rows = super().__call__(mx.maximum(tokens, 0))
        return mx.where((tokens < 0)[..., None], mx.array(0, rows.dtype), rows)

    def to_quantized(
        self,
        group_size: int | None = None,
        bits: int | None = None,
        mode: str = "affine",
        quantize_input: bool = False,
    ) -> QuantizedTokenEmbedding:
        """For `mlx.nn.quantize`, with its arguments."""
        return QuantizedTokenEmbedding.of(self, group_size, bits, mode)


class QuantizedTokenEmbedding(nn.QuantizedEmbedding):
    """The same with quantised rows; the zero of token -1 stays exact."""

    @classmethod
    def of(cls, table: TokenEmbedding, group_size, bits, mode) -> QuantizedTokenEmbedding:
        """A table, quantised as `mlx.nn.QuantizedEmbedding` does it."""
        quantized = nn.QuantizedEmbedding.from_embedding(table, group_size, bits, mode)
        quantized.__class__ = cls
        return quantized

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim); float32 where the mode is affine."""
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
        return mx.where((tokens < 0)[..., None], mx.array(0, rows.dtype), rows)


class AudioEmbedding(TokenEmbedding):
    """One table for all codebooks, so that the sum over them is a single gather."""

    def __init__(self, n_q: int, card: int, dim: int):
        super().__init__(n_q * (card + 1), dim)


def audio_rows(codes: mx.array, card: int) -> mx.array:
    """codes int32 (batch, n_q) -> rows of the joint table, int32 (batch, n_q); -1 stays -1."""
    starts = count(codes.shape[1]) * (card + 1)
    return mx.where(codes < 0, -1, codes + starts)


def keep_rows(module: nn.Module, rows: int) -> None:
    """Drop all but the first `rows` of a table's or linear map's weights, quantised or not."""
    for name in ("weight", "scales", "biases"):
        if name in module:
            # Gathered, as a slice would hold on to the memory of all.
            module[name] = module[name][mx.arange(rows)]


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
        left, right = self._streams(tokens)
        return self.out1(self.table(left)) + self.out2(self.table(right))

    def added(self, x: mx.array, tokens: mx.array) -> mx.array:
        """See `added`."""
        for linear, stream in zip((self.out1, self.out2), self._streams(tokens), strict=True):
            x = plus(x, linear, self.table(stream).astype(x.dtype))
        return x

    def _streams(self, tokens: mx.array) -> tuple[mx.array, mx.array]:
        left = mx.where(tokens < 0, -1, tokens % self.rows)
        return left, mx.where(tokens < 0, -1, tokens // self.rows - 1)


class DenseDemuxEmbedding(nn.Module):
    """The same with nothing packed, as one gather of both parts and one product."""

    def __init__(self, embedding: DemuxEmbedding, dtype: mx.Dtype):
        super().__init__()
        self.rows = embedding.rows
        self.table = DenseTable(embedding.table, self.rows, dtype)
        maps = [_weight(linear, dtype) for linear in (embedding.out1, embedding.out2)]
        self.out = _linear(mx.concatenate(maps, axis=1))

    def added(self, x: mx.array, tokens: mx.array) -> mx.array:
        """See `added`."""
        tokens = tokens[:, None]
        streams = mx.where(mx.array([True, False]), tokens % self.rows, tokens // self.rows - 1)
        both = self.table(mx.where(tokens < 0, -1, streams)).astype(x.dtype)
        return plus(x, self.out, both.reshape(x.shape[0], -1))


class LowRankEmbedding(nn.Module):
    """A narrow table and a projection; token -1 gives exactly 0 (reference: ScaledEmbedding)."""

    def __init__(self, rows: int, width: int, dim: int):
        super().__init__()
        self.rows = rows
        self.table: TokenEmbedding | DenseTable = TokenEmbedding(rows, width)
        self.low_rank = nn.Linear(width, dim, bias=False)

    def __call__(self, tokens: mx.array) -> mx.array:
        """int32 tokens (...) -> (..., dim)."""
        return self.low_rank(self.table(tokens))

    def added(self, x: mx.array, tokens: mx.array) -> mx.array:
        """See `added`."""
        return plus(x, self.low_rank, self.table(tokens).astype(x.dtype))

    def unpack(self, dtype: mx.Dtype) -> None:
        """See `unpacked`."""
        self.table = DenseTable(self.table, self.rows, dtype)
        self.low_rank = _linear(_weight(self.low_rank, dtype))


class DenseTable(nn.Module):
    """What an embedding gives for every token, as the rows of one matrix: a gather and no more.

    The last row is zero, and it is the one that token -1 reads.
    """

    def __init__(self, embedding: nn.Module, rows: int, dtype: mx.Dtype):
        super().__init__()
        table = embedding(mx.arange(rows, dtype=mx.int32)).astype(dtype)
        self.weight = mx.pad(table, [(0, 1), (0, 0)])

    def __call__(self, tokens: mx.array) -> mx.array:
        """Tokens (...), of any whole type -> (..., dim)."""
        return self.weight[tokens]


def added(x: mx.array, embedding: nn.Module, tokens: mx.array) -> mx.array:
    """x (rows, dim) + embedding(tokens), in x's dtype; in as few kernels as there can be."""
    if isinstance(embedding, LowRankEmbedding | DemuxEmbedding | DenseDemuxEmbedding):
        return embedding.added(x, tokens)
    return x + embedding(tokens).astype(x.dtype)


def unpacked(embedding: nn.Module, rows: int, dtype: mx.Dtype) -> nn.Module:
    """The same embedding without quantised parts: narrow tables are small as they are, and to read
    packed ones takes several kernels. dtype: of the activations."""
    if isinstance(embedding, DemuxEmbedding):
        return DenseDemuxEmbedding(embedding, dtype)
    if isinstance(embedding, LowRankEmbedding):
        embedding.unpack(dtype)
        return embedding
    return DenseTable(embedding, rows, dtype)


def _weight(linear: nn.Linear | nn.QuantizedLinear, dtype: mx.Dtype) -> mx.array:
    """The weights of a linear map (outputs, inputs), unpacked."""
    weight = linear.weight
    if isinstance(linear, nn.QuantizedLinear):
        weight = mx.dequantize(
            weight,
            linear.scales,
            linear.get("biases"),
            group_size=linear.group_size,
            bits=linear.bits,
            mode=linear.mode,
        )
    return weight.astype(dtype)


def _linear(weight: mx.array) -> nn.Linear:
    """The linear map of such weights, without a bias."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias=False)
    linear.weight = weight
    return linear
