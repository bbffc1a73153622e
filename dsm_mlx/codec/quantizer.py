"""Split residual vector quantisation (reference: SplitResidualVectorQuantizer).

The first codebook and the rest quantise the same latent, each with its own projections; the
outputs are summed.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec.matrix import Matrix
from dsm_mlx.runtime.device import together
from dsm_mlx.transformer.attention import plus
from dsm_mlx.transformer.ring import count


class ResidualQuantizer(nn.Module):
    """Codebooks applied one after another to what the earlier ones left over.

    A codebook is a matrix: its rows c are the weight and -|c|²/2 the bias, so that the largest
    output, x·c - |c|²/2, is that of the row nearest to x. `table` has the rows of all codebooks,
    for decoding; `keep` makes it.
    """

    def __init__(self, latent: int, dim: int, bins: int, codebooks: int):
        super().__init__()
        self.bins = bins
        self.input_proj = nn.Linear(latent, dim, bias=False)
        self.output_proj = nn.Linear(dim, latent, bias=False)
        self.codebooks = [Matrix(dim, bins) for _ in range(codebooks)]

    def keep(self, codebooks: int, *, encoder: bool, decoder: bool) -> None:
        """Keep the first `codebooks`, in the form that each half needs."""
        self.codebooks = self.codebooks[:codebooks]
        if decoder and codebooks:
            self.table = mx.concatenate([book.weight for book in self.codebooks])
            for book, part in zip(self.codebooks, mx.split(self.table, codebooks), strict=True):
                book.weight = part  # in the same memory
        if not encoder:
            self.codebooks = []

    def encode(self, latent: mx.array) -> list[mx.array]:
        """latent (batch, frames, latent) -> one uint32 (batch, frames) for each codebook."""
        residual = self.input_proj(latent)
        codes = []
        for codebook in self.codebooks:
            index = mx.argmax(codebook.product(residual), axis=-1)
            residual = residual - codebook.weight[index]
            codes.append(index)
        return codes

    def decode(self, codes: mx.array) -> mx.array:
        """codes (batch, codebooks, frames), the first ones -> the sum of their rows (batch,
        frames, dim). One gather, whatever the number."""
        starts = count(codes.shape[1])[:, None] * self.bins
        return self.table[codes + starts].sum(axis=1)


class SplitQuantizer(nn.Module):
    """`rvq_first` (one codebook, semantic) and `rvq_rest` (acoustic)."""

    def __init__(self, latent: int, dim: int, bins: int, n_q: int):
        super().__init__()
        self.n_q = n_q
        self.rvq_first = ResidualQuantizer(latent, dim, bins, 1)
        self.rvq_rest = ResidualQuantizer(latent, dim, bins, n_q - 1)

    def keep(self, codebooks: int, *, encoder: bool, decoder: bool) -> None:
        """Keep the first `codebooks`, in the form that each half needs."""
        self.n_q = codebooks
        self.rvq_first.keep(1, encoder=encoder, decoder=decoder)
        self.rvq_rest.keep(codebooks - 1, encoder=encoder, decoder=decoder)

    def encode(self, latent: mx.array) -> mx.array:
        """latent (batch, frames, latent) -> codes int32 (batch, n_q, frames)."""
        codes = self.rvq_first.encode(latent)
        if self.rvq_rest.codebooks:
            codes = codes + self.rvq_rest.encode(latent)
        return together(codes).swapaxes(1, 2).astype(mx.int32)

    def decode(self, codes: mx.array) -> mx.array:
        """codes (batch, any n_q up to the model's, frames) -> latent (batch, frames, latent)."""
        first, rest = self.rvq_first, self.rvq_rest
        latent = first.output_proj(first.decode(codes[:, :1]))
        if codes.shape[1] == 1:
            return latent
        return plus(latent, rest.output_proj, rest.decode(codes[:, 1:]))
