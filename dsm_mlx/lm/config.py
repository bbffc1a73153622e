"""The shape of a multistream language model, read from a checkpoint's `config.json`."""

from __future__ import annotations

from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm.conditioning import ConditionersConfig
from dsm_mlx.transformer import TransformerConfig


@dataclass(frozen=True)
class DepthConfig:
    """The depth decoder: one small transformer pass for each codebook of a frame.

    schedule: for each codebook the index of the weights it uses; weights may be shared.
    multi_linear: each schedule entry has its own projection of the main model's output.
    low_rank: width of the token embeddings before their projection to `dim`; None: full width.
    """

    dim: int
    heads: int
    layers: int
    hidden: int
    schedule: tuple[int, ...]
    multi_linear: bool
    low_rank: int | None
    norm: str = "rms_norm_f32"


@dataclass(frozen=True)
class LmConfig:
    """A multistream model: one text stream and `n_q` audio streams.

    dep_q: how many audio streams the model writes itself; 0 for speech to text, `n_q` for
    text to speech. delays: frames by which each stream lags, text first.
    """

    dim: int
    n_q: int
    dep_q: int
    card: int
    text_card: int
    text_card_out: int
    delays: tuple[int, ...]
    transformer: TransformerConfig
    extra_heads: int
    extra_heads_dim: int
    demux_second_stream: bool
    conditioners: ConditionersConfig
    depth: DepthConfig | None

    @classmethod
    def read(cls, raw: ConfigReader, hidden: int | None = None) -> LmConfig:
        """From a `config.json`.

        hidden: width of the feed-forward's halves where the weights' file tells it; by default
        it follows from `hidden_scale` as in the reference.
        """
        dim, n_q, dep_q = raw.positive("dim"), raw.parts("n_q"), raw.get("dep_q", int)
        if dep_q not in (0, n_q):
            raise raw.error("dep_q", f"is {dep_q} (expected 0 or n_q, {n_q})")
        conditioners = ConditionersConfig.read(raw)
        text_card = raw.positive("text_card")
        return cls(
            dim=dim,
            n_q=n_q,
            dep_q=dep_q,
            card=raw.positive("card"),
            text_card=text_card,
            text_card_out=raw.positive("text_card_out", text_card),
            delays=_read_delays(raw, n_q),
            transformer=_read_transformer(raw, dim, hidden, bool(conditioners.cross)),
            extra_heads=raw.parts("extra_heads_num_heads", 0, least=0),
            extra_heads_dim=raw.positive("extra_heads_dim", 6),
            demux_second_stream=raw.get("demux_second_stream", bool, False),
            conditioners=conditioners,
            depth=_read_depth(raw, dep_q) if dep_q else None,
        )


def gated_width(feed_forward: int, dim: int) -> int:
    """Width of each half of SwiGLU (reference: ActivationGating)."""
    return 21 * dim // 8 if feed_forward == 4 * dim else 2 * feed_forward // 3


def _read_delays(raw: ConfigReader, n_q: int) -> tuple[int, ...]:
    delays = raw.items("delays", int)
    if len(delays) != n_q + 1 or min(delays) < 0:
        raise raw.error("delays", f"is {delays} (expected {n_q + 1} integers from 0 up)")
    if delays[0] != 0:
        raise raw.error("delays", f"starts with {delays[0]} (the text stream must have delay 0)")
    return tuple(delays)


def _read_transformer(raw: ConfigReader, dim: int, hidden: int | None, cross: bool):
    raw.choice("positional_embedding", ("rope",), "rope")
    raw.choice("gating", ("silu",), "silu")
    feed_forward = int(raw.get("hidden_scale", float, 4.0) * dim)
    return TransformerConfig(
        dim=dim,
        heads=raw.divisor("num_heads", dim),
        layers=raw.parts("num_layers"),
        hidden=hidden or gated_width(feed_forward, dim),
        context=raw.positive("context"),
        norm=raw.choice("norm", ("rms_norm_f32", "rms_norm", "layer_norm"), "rms_norm_f32"),
        max_period=raw.positive("max_period", 10000.0, float),
        cross_attention=raw.get("cross_attention", bool, cross),
    )


def _read_depth(raw: ConfigReader, dep_q: int) -> DepthConfig:
    raw.choice("depformer_pos_emb", ("none",), "none")
    raw.choice("depformer_gating", ("silu",), "silu")
    dim = raw.positive("depformer_dim")
    heads = raw.divisor("depformer_num_heads", dim)
    feed_forward = raw.get(
        "depformer_dim_feedforward", int, int(raw.get("hidden_scale", float, 4.0) * dim)
    )
    hidden = gated_width(feed_forward, dim)
    if hidden < 1:
        raise raw.error("depformer_dim_feedforward", f"is {feed_forward} (expected 2 or more)")
    if not raw.get("depformer_weights_per_step", bool, False):
        raise raw.error("depformer_weights_per_step", "is false (expected true)")
    schedule = raw.items("depformer_weights_per_step_schedule", int, list(range(dep_q)))
    if len(schedule) != dep_q or sorted(set(schedule)) != list(range(max(schedule) + 1)):
        raise raw.error(
            "depformer_weights_per_step_schedule",
            f"is {schedule} (expected {dep_q} integers that use every index from 0 up)",
        )
    return DepthConfig(
        dim=dim,
        heads=heads,
        layers=raw.parts("depformer_num_layers"),
        hidden=hidden,
        schedule=tuple(schedule),
        multi_linear=raw.get("depformer_multi_linear", bool, False),
        low_rank=raw.positive("depformer_low_rank_embeddings", None),
        norm=raw.choice("norm", ("rms_norm_f32", "rms_norm", "layer_norm"), "rms_norm_f32"),
    )
