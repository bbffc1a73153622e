"""The shape of a Mimi codec, read from a `mimi_config`; the default is the official one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.transformer import TransformerConfig


@dataclass(frozen=True)
class SeanetConfig:
    """The convolutional encoder and decoder. `ratios` are in the decoder's order."""

    channels: int = 1
    dimension: int = 512
    n_filters: int = 64
    n_residual_layers: int = 1
    compress: int = 2
    dilation_base: int = 2
    kernel_size: int = 7
    residual_kernel_size: int = 3
    last_kernel_size: int = 3
    ratios: tuple[int, ...] = (8, 6, 5, 4)

    @property
    def hop(self) -> int:
        """Samples for each latent step of the encoder."""
        return math.prod(self.ratios)

    @classmethod
    def read(cls, raw: ConfigReader) -> SeanetConfig:
        for key, expected in (
            ("causal", True),
            ("true_skip", True),
        ):
            if raw.get(key, bool, expected) is not expected:
                raise raw.error(key, f"must be {str(expected).lower()} for Mimi")
        for key, expected in (("activation", "ELU"), ("norm", "none"), ("pad_mode", "constant")):
            raw.choice(key, (expected,), expected)
        widths = {
            name: raw.positive(name, getattr(cls, name))
            for name in cls.__dataclass_fields__
            if name != "ratios"
        }
        ratios = raw.items("ratios", int, list(cls.ratios))
        if not ratios or min(ratios) < 1:
            raise raw.error("ratios", f"is {ratios} (expected integers above 0)")
        return cls(ratios=tuple(ratios), **widths)


@dataclass(frozen=True)
class MimiConfig:
    """A whole codec. One frame is `frame_size` samples and `n_q` codes of `bins` values."""

    sample_rate: int
    frame_rate: float
    seanet: SeanetConfig
    transformer: TransformerConfig
    n_q: int
    bins: int
    code_dim: int

    @property
    def frame_size(self) -> int:
        return round(self.sample_rate / self.frame_rate)

    @property
    def stride(self) -> int:
        """Latent steps for each frame: 2 in Mimi (25 Hz to 12.5 Hz)."""
        return self.frame_size // self.seanet.hop

    @classmethod
    def read(cls, raw: ConfigReader) -> MimiConfig:
        """From the sections `seanet`, `quantizer` and `transformer`; what is absent is official."""
        seanet = SeanetConfig.read(raw.section("seanet", {}))
        quantizer = raw.section("quantizer", {})
        config = cls(
            sample_rate=raw.positive("sample_rate", 24000),
            frame_rate=raw.positive("frame_rate", 12.5, float),
            seanet=seanet,
            transformer=_read_transformer(raw.section("transformer", {})),
            n_q=quantizer.parts("n_q", 32),
            bins=quantizer.positive("bins", 2048),
            code_dim=quantizer.positive("dimension", 256),
        )
        if config.transformer.dim != seanet.dimension:
            raise CheckpointError(
                f"{raw.source}: transformer.d_model is {config.transformer.dim} "
                f"(expected seanet.dimension, {seanet.dimension})"
            )
        if config.frame_size % seanet.hop or config.stride < 2:
            raise CheckpointError(
                f"{raw.source}: a frame of {config.frame_size} samples is not two or more hops of "
                f"{seanet.hop}"
            )
        return config


def _read_transformer(raw: ConfigReader) -> TransformerConfig:
    raw.choice("positional_embedding", ("rope",), "rope")
    raw.choice("gating", ("none",), "none")
    dim = raw.positive("d_model", 512)
    return TransformerConfig(
        dim=dim,
        heads=raw.divisor("num_heads", dim, 8),
        layers=raw.parts("num_layers", 8),
        hidden=raw.positive("dim_feedforward", 2048),
        context=raw.positive("context", 250),
        norm=raw.choice("norm", ("layer_norm",), "layer_norm"),
        gated=False,
        max_period=raw.positive("max_period", 10000.0, float),
        layer_scale=raw.get("layer_scale", float, None) is not None or not raw.values,
    )


OFFICIAL = MimiConfig.read(ConfigReader({}, "the official Mimi"))
