"""Checkpoints in the layout of Hugging Face's Transformers, told by what their config says.

Their configs are read into what Kyutai's own would say of the same models. Reference:
models/kyutai_speech_to_text and models/mimi of transformers 5.24; the published ones are
kyutai/stt-1b-en_fr-trfs, kyutai/stt-2.6b-en-trfs and kyutai/mimi.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import LARGE, ConfigReader
from dsm_mlx.files.hub import Files, first_of
from dsm_mlx.files.network import NoFile
from dsm_mlx.lm.conditioning import WIDEST
from dsm_mlx.lm.config import MOST_VALUES, gated_width
from dsm_mlx.messages import named, shown

LISTENER, CODEC = "kyutai_speech_to_text", "mimi"  # what `model_type` says
TOKENIZER = "tokenizer.json"
CODEC_PREFIX = "codec_model."  # of the codec's tensors in a listener's files

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_NORMS = {1e-8: "rms_norm_f32", 1e-5: "rms_norm"}
_MOST_SHARDS = 1000
# What a config of ours calls the files, as a conversion writes them.
_NAMES = {
    "moshi_name": "model.safetensors",
    "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi_config.json",
    "tokenizer_name": "tokenizer.model",
}
# Of a listener's config nothing else concerns it; the reference makes no decoder of these.
_FIXED = {
    "dep_q": 0,
    "existing_text_padding_id": 3,
    "causal": True,
    "layer_scale": None,
    "gating": "silu",
    "positional_embedding": "rope",
    "depformer_dim": 64,
    "depformer_multi_linear": True,
    "depformer_pos_emb": "none",
    "depformer_weights_per_step": True,
    "conditioners": {},
    "fuser": None,
    "cross_attention": False,
    "model_type": "stt",
    "extra_heads_num_heads": 0,
    "lm_gen_config": {"temp": 0.0, "temp_text": 0.0},
}


@dataclass(frozen=True)
class Foreign:
    """What configs of ours would say. model: None for a codec alone."""

    model: dict | None
    codec: dict

    @classmethod
    def of(cls, config: ConfigReader, files: Files) -> Foreign | None:
        """None for a config that is not of that layout.

        Raises:
            CheckpointError: it is, and asks for what the models here do not do.
        """
        kind = config.values.get("model_type")
        if kind == CODEC:
            return cls(None, codec_values(config))
        if kind == LISTENER:
            codec = codec_values(config.section("codec_config"))
            return cls(_model_values(config, files), codec)
        return None

    @property
    def names(self) -> dict[str, str]:
        """What a config of ours would call the files of a codec alone."""
        return {key: _NAMES[key] for key in ("mimi_name", "mimi_config_name")}


def weight_files(files: Files) -> tuple[Path, ...]:
    """The files of the weights: one, or those that an index lists."""
    found = first_of(files, (_WEIGHTS, _INDEX))
    if found.name != _INDEX:
        return (found,)
    index = ConfigReader.read(found, most=LARGE)
    places = index.get("weight_map", dict)
    names = sorted({name for name in places.values() if isinstance(name, str)})
    if not names or len(names) > _MOST_SHARDS:
        raise index.error("weight_map", f"names {len(names)} files (expected 1 to {_MOST_SHARDS})")
    for name in names:
        if not PurePosixPath(name).name.endswith(".safetensors"):
            raise index.error("weight_map", f"names {shown(name)} (expected *.safetensors)")
    return tuple(files.get(name) for name in names)


def _codec_sizes(raw: ConfigReader) -> tuple[int, int, int]:
    """Width, heads and width of the codebooks of a codec that is Mimi; CheckpointError for what
    differs from it in kind."""
    _expect(raw, "audio_channels", 1, 1)
    _expect(raw, "use_causal_conv", True, True)
    _expect(raw, "use_conv_shortcut", False, False)
    _expect(raw, "pad_mode", "constant", "constant")
    _expect(raw, "trim_right_ratio", 1.0, 1.0)
    _expect(raw, "hidden_act", "gelu", "gelu")
    _expect(raw, "norm_eps", 1e-5, 1e-5)
    _expect(raw, "attention_bias", False, False)
    _expect(raw, "num_semantic_quantizers", 1, 1)
    dim = raw.integer("hidden_size", 1, WIDEST, 512)
    heads = raw.divisor("num_attention_heads", dim, 8)
    _expect(raw, "num_key_value_heads", heads, heads)
    _expect(raw, "head_dim", dim // heads, dim // heads)
    width = raw.integer("codebook_dim", 1, WIDEST, 256)
    _expect(raw, "vector_quantization_hidden_dimension", width, width)
    return dim, heads, width


def codec_values(raw: ConfigReader) -> dict:
    """What Kyutai's mimi_config says of a codec whose Transformers config this is."""
    dim, heads, width = _codec_sizes(raw)
    ratios = raw.integers("upsampling_ratios", 1, 64, 8, [8, 6, 5, 4])
    seanet = {
        "channels": 1,
        "dimension": dim,
        "causal": True,
        "n_filters": raw.integer("num_filters", 1, 1024, 64),
        "n_residual_layers": raw.integer("num_residual_layers", 1, 8, 1),
        "activation": "ELU",
        "compress": raw.integer("compress", 1, 64, 2),
        "dilation_base": raw.integer("dilation_growth_rate", 1, 4, 2),
        "disable_norm_outer_blocks": 0,
        "kernel_size": raw.integer("kernel_size", 1, 256, 7),
        "residual_kernel_size": raw.integer("residual_kernel_size", 1, 256, 3),
        "last_kernel_size": raw.integer("last_kernel_size", 1, 256, 3),
        "norm": "none",
        "pad_mode": "constant",
        "ratios": ratios,
        "true_skip": True,
    }
    transformer = {
        "d_model": dim,
        "num_heads": heads,
        "num_layers": raw.integer("num_hidden_layers", 1, 64, 8),
        "causal": True,
        "layer_scale": 0.01,
        "context": raw.integer("sliding_window", 1, 10_000, 250),
        "conv_layout": True,
        "max_period": _rope_theta(raw, 10000.0),
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "dim_feedforward": raw.integer("intermediate_size", 1, WIDEST, 2048),
        "input_dimension": dim,
        "output_dimensions": [dim],
    }
    quantizer = {
        "dimension": width,
        "n_q": raw.integer("num_quantizers", 1, 64, 32),
        "bins": raw.integer("codebook_size", 1, WIDEST, 2048),
        "input_dimension": dim,
        "output_dimension": dim,
    }
    rate = raw.integer("sampling_rate", 1000, 192_000, 24_000)
    hop = 2  # of the downsampling
    for ratio in ratios:
        hop *= ratio
    own = "frame_rate" if raw.values.get("frame_rate") is not None else "_frame_rate"
    return {
        "sample_rate": rate,
        "channels": 1,
        "frame_rate": raw.number(own, 1, 1000, rate / hop),
        "seanet": seanet,
        "quantizer": quantizer,
        "transformer": transformer,
    }


def _model_values(raw: ConfigReader, files: Files) -> dict:
    _expect(raw, "hidden_act", "silu", "silu")
    _expect(raw, "pad_token_id", 3, 3)
    _expect(raw, "tie_word_embeddings", False, False)
    dim, n_q = raw.integer("hidden_size", 1, WIDEST), raw.integer("num_codebooks", 1, 64)
    heads = raw.divisor("num_attention_heads", dim)
    kv_heads = raw.divisor("num_key_value_heads", heads, heads)
    _expect(raw, "head_dim", dim // heads, dim // heads)
    rows = raw.integer("codebook_vocab_size", 2, MOST_VALUES)
    text_rows = raw.integer("vocab_size", 5, MOST_VALUES)
    _expect(raw, "audio_bos_token_id", rows - 1, rows - 1)
    epsilon = raw.number("rms_norm_eps", 0, 1, 1e-8)
    if epsilon not in _NORMS:
        raise raw.wrong("rms_norm_eps", epsilon, "1e-08 or 1e-05")
    hidden, odd = divmod(raw.integer("ffn_dim", 4, MOST_VALUES), 2)
    if odd:
        raise raw.wrong("ffn_dim", 2 * hidden + 1, "an even number")
    return {
        "card": rows - 1,
        "n_q": n_q,
        "delays": [0] * (n_q + 1),
        "dim": dim,
        "text_card": text_rows - 1,
        "num_heads": heads,
        "num_layers": raw.integer("num_hidden_layers", 1, 256),
        "hidden_scale": _hidden_scale(hidden, dim),
        "context": raw.integer("sliding_window", 1, 10_000),
        "max_period": _rope_theta(raw, None),
        "norm": _NORMS[epsilon],
        "stt_config": _stt_config(files),
        **({"kv_repeat": heads // kv_heads} if kv_heads != heads else {}),
        **_FIXED,
        **_NAMES,
    }


def _hidden_scale(hidden: int, dim: int) -> float:
    """Of which the reference makes a feed-forward of that width."""
    for feed_forward in (4 * dim, -(-3 * hidden // 2), -(-3 * hidden // 2) + 1):
        scale = feed_forward / dim
        if gated_width(int(scale * dim), dim) == hidden:
            return scale
    return 1.5 * hidden / dim  # the weights tell it in any case


def _rope_theta(raw: ConfigReader, default: float | None) -> float:
    """Where versions of transformers have put it."""
    section = raw.section("rope_parameters", {})
    if section.values.get("rope_type") not in (None, "default"):
        raise section.wrong("rope_type", section.values["rope_type"], "'default'")
    place = section if section.values.get("rope_theta") is not None else raw
    theta = place.number("rope_theta", 1, 1e9, default)
    return place.number("rope_theta", 1, 1e9) if theta is None else theta


def _stt_config(files: Files) -> dict:
    """Delay and silence stand in the config of what prepares the sound."""
    try:
        raw = ConfigReader.read(first_of(files, _PROCESSORS))
    except NoFile:
        raise CheckpointError(
            f"{named(files.name)}: has neither {' nor '.join(_PROCESSORS)}, which tells its delay"
        ) from None
    raw = raw.section("feature_extractor", raw.values)
    found: dict = {
        "audio_delay_seconds": raw.number("audio_delay_seconds", 0, 60),
        "audio_silence_prefix_seconds": raw.number("audio_silence_prefix_seconds", 0, 60, 0.0),
    }
    # No file tells the languages; the name of a published one does.
    if match := re.search(r"-([a-z]{2}(?:_[a-z]{2})*)-trfs$", files.name):
        found["languages"] = match[1].split("_")
    return found


def _expect(raw: ConfigReader, key: str, expected, default) -> None:
    """CheckpointError unless it says what all such models say, or nothing."""
    found = raw.get(key, type(expected), default)
    if found != expected:
        raise raw.wrong(key, found, repr(expected))
