"""The shape of a multistream language model, read from a checkpoint's `config.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm.conditioning import WIDEST, ConditionersConfig, check_sinusoids
from dsm_mlx.lm.tokens import PADDING
from dsm_mlx.transformer import TransformerConfig

# What the tensors of a file do not bear out (delays, the context) is bounded more closely.
MOST_VALUES = 1 << 20
_MOST_STREAMS, _MOST_LAYERS, _MOST_HEADS = 64, 256, 64
_LONGEST_DELAY, _LONGEST_CONTEXT = 256, 10_000  # frames
# What brings weights or sums that no such model has; absent or null it is as here.
_EXPECTED = {
    "causal": True,
    "norm_emb": False,
    "bias_proj": False,
    "layer_scale": None,
    "depformer_layer_scale": None,
    "depformer_norm": None,
    "skip_self_attn": False,
}
_NORMS = ("rms_norm_f32", "rms_norm", "layer_norm")


@dataclass(frozen=True)
class DepthConfig:
    """The depth decoder: one small transformer pass for each codebook of a frame.

    schedule: for each codebook the index of the weights it uses; weights may be shared.
    multi_linear: each schedule entry has its own projection of the main model's output.
    low_rank: width of the token embeddings before their projection to `dim`; None: full width.
    kv_repeat: how many heads of queries share one of keys and values.
    """

    dim: int
    heads: int
    layers: int
    hidden: int
    schedule: tuple[int, ...]
    multi_linear: bool
    low_rank: int | None
    norm: str = "rms_norm_f32"
    kv_repeat: int = 1


@dataclass(frozen=True)
class LmConfig:
    """A multistream model: one text stream and `n_q` audio streams.

    dep_q: how many audio streams the model writes itself; 0 for speech to text, for text to speech
    `n_q`, or fewer where it was made from a dialogue model. delays: frames by which each stream
    lags, text first.
    voices: how many sounds the streams are, each with as many codebooks: two where two people
    speak at once. used: how many codebooks of each are not silenced, see
    `MultistreamLM.keep_codebooks`; None: all.
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
    voices: int = 1
    used: int | None = None

    @property
    def codebooks(self) -> int:
        """How many codebooks of the codec the model reads or writes."""
        return self.used or (self.dep_q or self.n_q) // self.voices

    @classmethod
    def read(cls, raw: ConfigReader, hidden: int | None = None) -> LmConfig:
        """From a `config.json`.

        hidden: width of the feed-forward's halves where the weights' file tells it; by default
        it follows from `hidden_scale` as in the reference.

        Raises:
            CheckpointError: a value is missing or beyond its bounds, or asks for what is not made
                here.
        """
        dim, n_q = raw.integer("dim", 1, WIDEST), raw.integer("n_q", 1, _MOST_STREAMS)
        dep_q = raw.integer("dep_q", 0, n_q)
        voices = _read_voices(raw, n_q, dep_q)
        conditioners = ConditionersConfig.read(raw)
        if conditioners.cross_positions:
            check_sinusoids(raw, dim)
        for key, expected in _EXPECTED.items():
            if raw.values.get(key, expected) not in (expected, None):
                raise raw.wrong(key, raw.values[key], json.dumps(expected))
        raw.integer("existing_text_padding_id", PADDING, PADDING, PADDING)
        text_card = raw.integer("text_card", PADDING + 1, MOST_VALUES)
        return cls(
            dim=dim,
            n_q=n_q,
            dep_q=dep_q,
            card=raw.integer("card", 1, MOST_VALUES),
            text_card=text_card,
            text_card_out=raw.integer("text_card_out", PADDING + 1, text_card, text_card),
            delays=_read_delays(raw, n_q),
            transformer=_read_transformer(raw, dim, hidden, bool(conditioners.cross)),
            extra_heads=raw.integer("extra_heads_num_heads", 0, _MOST_HEADS, 0),
            extra_heads_dim=raw.integer("extra_heads_dim", 1, _MOST_HEADS, 6),
            demux_second_stream=raw.get("demux_second_stream", bool, False),
            conditioners=conditioners,
            depth=_read_depth(raw, dep_q) if dep_q else None,
            voices=voices,
        )


def gated_width(feed_forward: int, dim: int) -> int:
    """Width of each half of SwiGLU (reference: ActivationGating)."""
    return 21 * dim // 8 if feed_forward == 4 * dim else 2 * feed_forward // 3


def _read_voices(raw: ConfigReader, n_q: int, dep_q: int) -> int:
    tts = raw.section("tts_config", {})
    if not tts.get("multistream", bool, False):
        return 1
    if dep_q != n_q:
        raise raw.wrong("dep_q", dep_q, f"n_q, {n_q}, because the model is 'multistream'")
    if n_q % 2:
        raise raw.wrong("n_q", n_q, "an even number, because the model is 'multistream'")
    return 2


def _read_delays(raw: ConfigReader, n_q: int) -> tuple[int, ...]:
    delays = raw.integers("delays", 0, _LONGEST_DELAY, _MOST_STREAMS + 1)
    if len(delays) != n_q + 1:
        raise raw.wrong("delays", delays, f"{n_q + 1} integers")
    if delays[0] != 0:
        raise raw.error("delays", f"starts with {delays[0]} (the text stream must have delay 0)")
    return tuple(delays)


def _read_transformer(
    raw: ConfigReader, dim: int, hidden: int | None, attends: bool
) -> TransformerConfig:
    raw.choice("positional_embedding", ("rope",), "rope")
    raw.choice("gating", ("silu",), "silu")
    cross = raw.get("cross_attention", bool, attends)
    if attends and not cross:
        raise raw.wrong("cross_attention", cross, "true, because the fuser names what to attend to")
    scaled = _scaled(raw, dim)
    heads = raw.divisor("num_heads", dim, even=True)  # pairs, which the positions rotate
    kv_repeat = raw.divisor("kv_repeat", heads, 1)
    if cross and kv_repeat != 1:  # the reference takes its packed weights apart in thirds
        raise raw.wrong("kv_repeat", kv_repeat, "1, because the model has cross-attention")
    return TransformerConfig(
        dim=dim,
        heads=heads,
        kv_repeat=kv_repeat,
        layers=raw.integer("num_layers", 1, _MOST_LAYERS),
        hidden=hidden or scaled,
        context=raw.integer("context", 1, _LONGEST_CONTEXT),
        norm=raw.choice("norm", _NORMS, "rms_norm_f32"),
        max_period=raw.number("max_period", 1, 1e9, 10000.0),
        cross_attention=cross,
    )


def _scaled(raw: ConfigReader, dim: int) -> int:
    """The feed-forward's width as `hidden_scale` has it."""
    scale = raw.number("hidden_scale", 0, 64, 4.0)
    hidden = gated_width(int(scale * dim), dim)
    if hidden < 1:
        raise raw.wrong("hidden_scale", scale, f"a multiple of {dim} of 2 or more")
    return hidden


def _read_depth(raw: ConfigReader, dep_q: int) -> DepthConfig:
    raw.choice("depformer_pos_emb", ("none",), "none")
    raw.choice("depformer_gating", ("silu",), "silu")
    dim = raw.integer("depformer_dim", 1, WIDEST)
    heads = raw.divisor("depformer_num_heads", dim)
    feed_forward = raw.integer("depformer_dim_feedforward", 2, MOST_VALUES, None)
    hidden = gated_width(feed_forward, dim) if feed_forward else _scaled(raw, dim)
    # What it has no key of its own for is that of the main model.
    own = raw.values.get("depformer_kv_repeat") is not None
    key = "depformer_kv_repeat" if own else "kv_repeat"
    if not raw.get("depformer_weights_per_step", bool, False):
        raise raw.wrong("depformer_weights_per_step", False, "true")
    return DepthConfig(
        dim=dim,
        heads=heads,
        layers=raw.integer("depformer_num_layers", 1, _MOST_LAYERS),
        hidden=hidden,
        schedule=_read_schedule(raw, dep_q),
        multi_linear=raw.get("depformer_multi_linear", bool, False),
        low_rank=raw.integer("depformer_low_rank_embeddings", 1, WIDEST, None),
        norm=raw.choice("norm", _NORMS, "rms_norm_f32"),
        kv_repeat=raw.divisor(key, heads, 1),
    )


def _read_schedule(raw: ConfigReader, dep_q: int) -> tuple[int, ...]:
    key = "depformer_weights_per_step_schedule"
    schedule = raw.integers(key, 0, dep_q - 1, _MOST_STREAMS, list(range(dep_q)))
    if len(schedule) != dep_q or sorted(set(schedule)) != list(range(max(schedule) + 1)):
        raise raw.wrong(key, schedule, f"{dep_q} integers that use every index from 0 up")
    return tuple(schedule)
