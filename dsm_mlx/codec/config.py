"""The shape of a Mimi codec, read from a `mimi_config`; the default is the official one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.transformer import TransformerConfig

# Far above what any such codec has, and far below what would fill a memory.
_WIDEST, _MOST_CODES, _LONGEST_CONTEXT = 1 << 14, 1 << 16, 10_000


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
        """From the section `seanet`; what is absent is official.

        Raises:
            CheckpointError: it asks for another kind of network, or is beyond all bounds.
        """
        for key in ("causal", "true_skip"):
            if not raw.get(key, bool, True):
                raise raw.wrong(key, False, "true")
        for key, expected in (("activation", "ELU"), ("norm", "none"), ("pad_mode", "constant")):
            raw.choice(key, (expected,), expected)
        sizes = {
            name: raw.integer(name, 1, most, getattr(cls, name)) for name, most in _SEANET.items()
        }
        ratios = raw.integers("ratios", 1, 64, 8, list(cls.ratios))
        if not ratios:
            raise raw.wrong("ratios", ratios, "integers above 0")
        return cls(ratios=tuple(ratios), **sizes)


# Each layer's dilation is a power of the base, and what a layer keeps grows with it.
_SEANET = {"channels": 1, "dimension": _WIDEST, "n_filters": 1024, "n_residual_layers": 8}
_SEANET |= {"compress": 64, "dilation_base": 4}
_SEANET |= dict.fromkeys(("kernel_size", "residual_kernel_size", "last_kernel_size"), 256)


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
        """Samples of a frame."""
        return round(self.sample_rate / self.frame_rate)

    @property
    def stride(self) -> int:
        """Latent steps for each frame: 2 in Mimi (25 Hz to 12.5 Hz)."""
        return self.frame_size // self.seanet.hop

    @classmethod
    def read(cls, raw: ConfigReader) -> MimiConfig:
        """From the sections `seanet`, `quantizer` and `transformer`; what is absent is official.

        Raises:
            CheckpointError: it asks for another kind of codec, or its parts do not fit together.
        """
        seanet = SeanetConfig.read(raw.section("seanet", {}))
        quantizer = raw.section("quantizer", {})
        config = cls(
            sample_rate=raw.integer("sample_rate", 1000, 192_000, 24000),
            frame_rate=raw.number("frame_rate", 1, 1000, 12.5),
            seanet=seanet,
            transformer=_read_transformer(raw.section("transformer", {})),
            n_q=quantizer.integer("n_q", 1, 64, 32),
            bins=quantizer.integer("bins", 1, _MOST_CODES, 2048),
            code_dim=quantizer.integer("dimension", 1, _WIDEST, 256),
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
    dim = raw.integer("d_model", 1, _WIDEST, 512)
    return TransformerConfig(
        dim=dim,
        heads=raw.divisor("num_heads", dim, 8, even=True),  # pairs, which the positions rotate
        layers=raw.integer("num_layers", 1, 64, 8),
        hidden=raw.integer("dim_feedforward", 1, _MOST_CODES, 2048),
        context=raw.integer("context", 1, _LONGEST_CONTEXT, 250),
        norm=raw.choice("norm", ("layer_norm",), "layer_norm"),
        gated=False,
        max_period=raw.number("max_period", 1, 1e9, 10000.0),
        layer_scale=raw.number("layer_scale", 0, 1e6, None) is not None or not raw.values,
    )


OFFICIAL = MimiConfig.read(ConfigReader({}, "the official Mimi"))
