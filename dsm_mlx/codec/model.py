"""Mimi as weights and steps: PCM to codes and back, one or more frames a step."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec.config import MimiConfig
from dsm_mlx.codec.conv import CausalConv1d, DepthwiseUpsample
from dsm_mlx.codec.quantizer import SplitQuantizer
from dsm_mlx.codec.seanet import SeanetDecoder, SeanetEncoder
from dsm_mlx.transformer import Transformer, select_rows


class MimiModel(nn.Module):
    """The codec of the reference (MimiModel in compression.py): weights only, no state."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.config = config
        latent = config.seanet.dimension
        self.encoder = SeanetEncoder(config.seanet)
        self.encoder_transformer = Transformer(config.transformer)
        self.downsample = CausalConv1d(
            latent, latent, 2 * config.stride, stride=config.stride, bias=False
        )
        self.quantizer = SplitQuantizer(latent, config.code_dim, config.bins, config.n_q)
        self.upsample = DepthwiseUpsample(latent, config.stride)
        self.decoder_transformer = Transformer(config.transformer)
        self.decoder = SeanetDecoder(config.seanet)

    def keep(self, codebooks: int, *, encoder: bool = True, decoder: bool = True) -> None:
        """Drop the weights of all but the first `codebooks` and of the halves not wanted, and give
        the others the form in which a step reads them. Before any step."""
        self.quantizer.keep(codebooks, encoder=encoder, decoder=decoder)
        self.encoder_transformer.fold_scales()
        self.decoder_transformer.fold_scales()
        if not encoder:
            del self.encoder, self.encoder_transformer, self.downsample
        if not decoder:
            del self.decoder, self.decoder_transformer, self.upsample

    def encoder_state(self, batch: int, frames: int = 1) -> dict:
        """State for `encode_step`; `frames` is the most that one call will bring."""
        return {
            "seanet": self.encoder.init_state(batch),
            "transformer": self.encoder_transformer.init_state(
                batch, steps=frames * self.config.stride
            ),
            "downsample": self.downsample.init_state(batch),
        }

    def decoder_state(self, batch: int, frames: int = 1) -> dict:
        """State for `decode_step`; `frames` is the most that one call will bring."""
        return {
            "upsample": self.upsample.init_state(batch),
            "transformer": self.decoder_transformer.init_state(
                batch, steps=frames * self.config.stride
            ),
            "seanet": self.decoder.init_state(batch),
        }

    def encode_step(
        self, pcm: mx.array, state: dict, active: mx.array | None = None
    ) -> tuple[mx.array, dict]:
        """float32 pcm (batch, frames * frame_size) -> int32 codes (batch, n_q, frames), state.

        active: bool (batch,); a row that is False keeps its state and its codes mean nothing.
        """
        latent, state = self.latent_step(pcm, state, active)
        return self.quantizer.encode(latent), state

    def latent_step(
        self, pcm: mx.array, state: dict, active: mx.array | None = None
    ) -> tuple[mx.array, dict]:
        """The same up to the quantiser: latent (batch, frames, dim), state.

        Here a value that is not finite shows; the nearest code to it is a code like any other.
        """
        # The downsampling repeats its first frame where the other convolutions see zeros.
        offset = state["transformer"]["offset"][:, None, None]
        x, seanet = self.encoder(pcm[..., None], state["seanet"])
        x, transformer = self.encoder_transformer(x, state["transformer"], active)
        past = mx.where(offset == 0, x[:, :1], state["downsample"])
        x, downsample = self.downsample(x, past)
        new = {"seanet": seanet, "transformer": transformer, "downsample": downsample}
        return x, keep_resting(active, new, state)

    def decode_step(
        self, codes: mx.array, state: dict, active: mx.array | None = None
    ) -> tuple[mx.array, dict]:
        """int32 codes (batch, n_q, frames) -> float32 pcm (batch, frames * frame_size), state."""
        x = self.quantizer.decode(codes)
        x, upsample = self.upsample(x, state["upsample"])
        x, transformer = self.decoder_transformer(x, state["transformer"], active)
        x, seanet = self.decoder(x, state["seanet"])
        new = {"upsample": upsample, "transformer": transformer, "seanet": seanet}
        return x[..., 0], keep_resting(active, new, state)


def keep_resting(active: mx.array | None, new: dict, old: dict) -> dict:
    """The new state, except for the rows that rest."""
    return new if active is None else select_rows(active, new, old)
