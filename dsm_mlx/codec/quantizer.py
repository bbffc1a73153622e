"""Split residual vector quantisation (reference: SplitResidualVectorQuantizer).

The first codebook and the rest quantise the same latent, each with its own projections; the
outputs are summed.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec.matrix import Matrix


class ResidualQuantizer(nn.Module):
    """Codebooks applied one after another to what the earlier ones left over.

    A codebook is a matrix: its rows c are the weight and -|c|²/2 the bias, so that the largest
    output, x·c - |c|²/2, is that of the row nearest to x.
    """

    def __init__(self, latent: int, dim: int, bins: int, codebooks: int):
        super().__init__()
        self.input_proj = nn.Linear(latent, dim, bias=False)
        self.output_proj = nn.Linear(dim, latent, bias=False)
        self.codebooks = [Matrix(dim, bins) for _ in range(codebooks)]

    def encode(self, latent: mx.array) -> list[mx.array]:
        """latent (batch, frames, latent) -> one int32 (batch, frames) for each codebook."""
        residual = self.input_proj(latent)
        codes = []
        for codebook in self.codebooks:
            index = mx.argmax(codebook.product(residual), axis=-1)
            residual = residual - codebook.weight[index]
            codes.append(index.astype(mx.int32))
        return codes

    def decode(self, codes: mx.array) -> mx.array:
        """codes (batch, codebooks, frames) -> latent (batch, frames, latent)."""
        used = self.codebooks[: codes.shape[1]]
        return self.output_proj(sum(book.weight[codes[:, i]] for i, book in enumerate(used)))


class SplitQuantizer(nn.Module):
    """`rvq_first` (one codebook, semantic) and `rvq_rest` (acoustic)."""

    def __init__(self, latent: int, dim: int, bins: int, n_q: int):
        super().__init__()
        self.rvq_first = ResidualQuantizer(latent, dim, bins, 1)
        self.rvq_rest = ResidualQuantizer(latent, dim, bins, n_q - 1)

    def encode(self, latent: mx.array) -> mx.array:
        """latent (batch, frames, latent) -> codes int32 (batch, n_q, frames)."""
        codes = self.rvq_first.encode(latent)
        if self.rvq_rest.codebooks:
            codes = codes + self.rvq_rest.encode(latent)
        return mx.stack(codes, axis=1)

    def decode(self, codes: mx.array) -> mx.array:
        """codes (batch, any n_q up to the model's, frames) -> latent (batch, frames, latent)."""
        latent = self.rvq_first.decode(codes[:, :1])
        if codes.shape[1] > 1:
            latent = latent + self.rvq_rest.decode(codes[:, 1:])
        return latent
