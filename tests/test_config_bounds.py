"""Whatever stands in a config: it loads, or it is one short CheckpointError, soon and in little
memory.

A hundred mutations are tried; DSM_MLX_EVERY_MUTATION=1 in the environment tries all (minutes).
"""

import json
import math
import os
import random
import resource
import sys
import time

import golden as fixtures
import mlx.core as mx
import pytest

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm.conditioning import ConditionersConfig, ConditionProvider
from dsm_mlx.messages import cut, shown

VALUES = [
    0, -1, 1, 3, 1000, 2**31, 10**30, 1e308, -1e308, 0.5, math.nan, math.inf, True, None,
    "", "word", "x" * 5000, "../x", "a\nb\0", [], {}, [[]], [[[1]]], [1, "x"], {"a": 1},
    list(range(100_000)), ["y"] * 50_000, {"k" * 5000: 1}, {str(i): {} for i in range(5000)},
]  # fmt: skip
TRIED = None if os.environ.get("DSM_MLX_EVERY_MUTATION") else 60  # of each model
FILES = ("config.json", "mimi_config.json")


def paths_of(values, start=()):
    """Every place in a config; of a list its first and its last entry."""
    places = values.items() if isinstance(values, dict) else ()
    if isinstance(values, list):
        places = list(enumerate(values))[:: max(1, len(values) - 1)]
    for key, value in places:
        yield (*start, key)
        yield from paths_of(value, (*start, key))


def put(values, path: tuple, value) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def highest() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (10 * (sys.platform == "linux"))


def loader(name: str):
    return dsm_mlx.load_tts if name.startswith("tts") else dsm_mlx.load_stt


def check_message(error: CheckpointError, folder) -> None:
    message = str(error)
    assert message.isprintable()
    assert len(message.replace(str(folder), "")) <= 300, message


@pytest.mark.parametrize("name", ["stt-tiny-cond", "tts-tiny"])
def test_mutations(tmp_path, name):
    folder = fixtures.assemble(name, tmp_path / "checkpoint")
    load = loader(name)
    load(folder)
    originals = {file: (folder / file).read_text() for file in FILES}
    cases = [
        (file, path, value)
        for file, text in originals.items()
        for path in paths_of(json.loads(text))
        for value in VALUES
    ]
    random.Random(name).shuffle(cases)
    before, refused = highest(), 0
    for file, path, value in cases[:TRIED]:
        fixtures.edit_json(folder / file, lambda c, path=path, value=value: put(c, path, value))
        start = time.process_time()
        try:
            load(folder)
        except CheckpointError as error:
            refused += 1
            check_message(error, folder)
        except Exception as error:
            pytest.fail(f"{file}: {path} = {shown(value)} gives {error!r:.300}")
        assert time.process_time() - start < 2, (file, path, shown(value))
        (folder / file).write_text(originals[file])
    assert refused > len(cases[:TRIED]) / 3
    if TRIED:  # thousands of models leave more behind than one of them takes
        assert highest() - before < 200e6


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("stt-tiny", ("delays", 5), 2**31),
        ("stt-tiny", ("delays", 5), 257),
        ("stt-tiny", ("delays",), list(range(100_000))),
        ("stt-tiny", ("n_q",), 10**30),
        ("stt-tiny", ("n_q",), 10**400),
        ("stt-tiny", ("num_layers",), 4096),
        ("stt-tiny", ("num_layers",), 200),
        ("stt-tiny", ("context",), 10**9),
        ("stt-tiny", ("hidden_scale",), 1e308),
        ("stt-tiny", ("hidden_scale",), 10**400),
        ("stt-tiny", ("hidden_scale",), math.nan),
        ("stt-tiny", ("max_period",), 0),
        ("stt-tiny", ("max_period",), 1e308),
        ("stt-tiny", ("kv_repeat",), 3),
        ("stt-tiny", ("kv_repeat",), 0),
        ("tts-tiny-shared", ("depformer_kv_repeat",), 3),
        ("tts-tiny", ("kv_repeat",), 2),  # which has cross-attention
        ("stt-tiny", ("num_heads",), 64),  # of width 1, which has no pairs to rotate
        ("stt-tiny", ("text_card_out",), 97),
        ("stt-tiny", ("existing_text_padding_id",), 0),
        ("stt-tiny", ("causal",), False),
        ("stt-tiny", ("bias_proj",), True),
        ("stt-tiny", ("layer_scale",), 0.01),
        ("tts-tiny", ("depformer_norm",), "layer_norm"),
        ("stt-tiny", ("extra_heads_num_heads",), 10**6),
        ("stt-tiny", ("stt_config", "audio_silence_prefix_seconds"), 1e6),
        ("stt-tiny", ("stt_config", "audio_silence_prefix_seconds"), -5),
        ("stt-tiny", ("stt_config", "audio_delay_seconds"), -0.5),
        ("stt-tiny", ("stt_config", "audio_delay_seconds"), 1e308),
        ("stt-tiny", ("stt_config", "languages"), [["en"]]),
        ("stt-tiny", ("stt_config", "languages"), ["en"] * 10_000),
        ("stt-tiny-cond", ("conditioners", "language", "lut", "n_bins"), 10**9),
        ("stt-tiny-cond", ("conditioners", "language", "lut", "possible_values"), ["x"] * 5),
        ("stt-tiny-cond", ("conditioners", "language", "lut", "possible_values"), ["x" * 999]),
        ("tts-tiny", ("tts_config", "audio_delay"), 1e308),
        ("tts-tiny", ("tts_config", "audio_delay"), -1),
        ("tts-tiny", ("tts_config", "second_stream_ahead"), 10**30),
        ("tts-tiny", ("tts_config", "max_speakers"), 20_000),
        ("tts-tiny", ("lm_gen_config", "temp"), 1e308),
        ("tts-tiny", ("lm_gen_config", "cfg_coef"), -1),
        ("tts-tiny", ("depformer_weights_per_step_schedule", 0), 50_000_000),
        ("tts-tiny", ("depformer_weights_per_step_schedule", 0), 5e7),
        ("tts-tiny", ("depformer_num_layers",), 250),
        ("tts-tiny", ("depformer_dim",), 2**31),
        ("tts-tiny", ("fuser", "cross_attention_pos_emb_scale"), 1e300),
        ("tts-tiny", ("model_id", "sig"), "../../elsewhere"),
        ("tts-tiny", ("model_id", "epoch"), [[1]]),
    ],
)
def test_numbers_out_of_bounds(tmp_path, name, path, value):
    folder = fixtures.assemble(name, tmp_path / "checkpoint")
    fixtures.edit_json(folder / "config.json", lambda c: put(c, path, value))
    start = time.process_time()
    with pytest.raises(CheckpointError, match="expected") as error:
        loader(name)(folder)
    assert time.process_time() - start < 1
    check_message(error.value, folder)
    key = next(part for part in reversed(path) if isinstance(part, str))
    assert f"'{key}' " in str(error.value) and str(folder / "config.json") in str(error.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("seanet", "n_residual_layers"), 4096),
        (("seanet", "dilation_base"), 10**6),
        (("seanet", "ratios"), [2] * 1000),
        (("seanet", "ratios", 0), 10**9),
        (("seanet", "kernel_size"), 10**6),
        (("seanet", "channels"), 2),
        (("quantizer", "n_q"), 60),
        (("quantizer", "bins"), 10**12),
        (("transformer", "num_layers"), 60),
        (("transformer", "context"), 10**9),
        (("transformer", "num_heads"), 64),
        (("transformer", "max_period"), -1),
        (("transformer", "layer_scale"), math.inf),
        (("sample_rate",), 10**12),
        (("frame_rate",), 1e-300),
    ],
)
def test_numbers_of_a_codec_out_of_bounds(tmp_path, path, value):
    folder = fixtures.assemble("stt-tiny", tmp_path / "checkpoint")
    fixtures.edit_json(folder / "mimi_config.json", lambda c: put(c, path, value))
    with pytest.raises(CheckpointError, match="expected") as error:
        dsm_mlx.load_codec(folder)
    check_message(error.value, folder)
    key = next(part for part in reversed(path) if isinstance(part, str))
    assert f"'{key}' " in str(error.value) and "mimi_config.json" in str(error.value)


CONTROL = {"type": "lut", "lut": {"dim": 64, "n_bins": 1, "possible_values": ["good"]}}
AHEAD = "second_stream_ahead"
NUMBER = {"type": "continuous_attribute", "dim": 5}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("cross_attention",), False, "'cross_attention' is False"),
        (("fuser", "sum"), ["control", "speaker_wavs"], "'speaker_wavs', which is of type tensor"),
        (("fuser", "cross"), ["control"], "'control', which is of type lut"),
        (("fuser", "sum"), ["cfg", "cfg"], "every name once"),
        (("fuser", "sum"), ["x" * 70], "which is not a conditioner"),
        (("conditioners", "control"), CONTROL, "does not know 'ok'"),
        (("conditioners", "cfg"), NUMBER, "'dim' is 5 (expected an even number"),
        (("conditioners", "a.b"), CONTROL, "'a.b' is not a name"),
        (("conditioners", "0"), CONTROL, "'0' is not a name"),
        (("conditioners",), {f"c{i}": CONTROL for i in range(17)}, "are 17 (expected at most 16)"),
    ],
)
def test_values_that_do_not_go_together(tmp_path, path, value, message):
    folder = fixtures.assemble("tts-tiny", tmp_path / "checkpoint")
    fixtures.edit_json(folder / "config.json", lambda c: put(c, path, value))
    with pytest.raises(CheckpointError) as error:
        dsm_mlx.load_tts(folder)
    assert message in str(error.value)
    check_message(error.value, folder)


def test_a_second_stream_that_the_model_does_not_have(tmp_path):
    folder = fixtures.assemble("tts-tiny-single", tmp_path / "checkpoint")
    fixtures.edit_json(folder / "config.json", lambda c: put(c, ("tts_config", AHEAD), 2))
    with pytest.raises(CheckpointError, match=f"'{AHEAD}' is 2 .expected 0 without demux"):
        dsm_mlx.load_tts(folder)


@pytest.mark.parametrize(
    ("key", "value", "tensors"),
    [
        ("num_layers", 200, "transformer.layers.*"),
        ("depformer_num_layers", 200, "depformer.layers.*"),
    ],
)
def test_parts_are_counted_before_any_module_is_made(tmp_path, monkeypatch, key, value, tensors):
    from dsm_mlx.loading import checkpoint

    folder = fixtures.assemble("tts-tiny", tmp_path / "checkpoint")
    fixtures.edit_json(folder / "config.json", lambda c: c.update({key: value}))
    monkeypatch.setattr(checkpoint, "MultistreamLM", lambda _: pytest.fail("made"))
    with pytest.raises(CheckpointError) as error:
        dsm_mlx.load_tts(folder)
    assert f"'{key}' asks for 200 of {tensors} (expected at most" in str(error.value)
    assert "dsm_tts_deadbeef@7.safetensors" in str(error.value)


def test_the_same_in_the_other_layout(tmp_path):
    folder = fixtures.assemble("stt-tiny-mlx", tmp_path / "checkpoint")
    fixtures.edit_json(
        folder / "config.json", lambda c: c.update(n_q=9, delays=[0] * 10, num_layers=3)
    )
    with pytest.raises(CheckpointError, match=r"'n_q' asks for 9 of audio_embs\.\* \(expected at"):
        dsm_mlx.load_stt(folder)


def test_a_config_that_is_too_large(tmp_path):
    folder = fixtures.assemble("stt-tiny", tmp_path / "checkpoint")
    fixtures.edit_json(folder / "config.json", lambda c: c.update(extra=["x" * 100] * 20_000))
    with pytest.raises(CheckpointError, match="larger than a config can be"):
        dsm_mlx.load_stt(folder)


# ---- how values are shown --------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        list(range(10**6)), "x" * 10**7, {"k" * 10**6: [{}] * 1000}, 10**10_000, -(10**30),
        "a\nb\x1b[31m\udcff", [[[[[[]]]]]], mx.zeros((1000, 1000)), object(), b"x" * 10**6,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_any_value_is_shown_on_a_line(value):
    start = time.process_time()
    for most in (20, 80):
        assert len(shown(value, most)) <= most and shown(value, most).isprintable()
    assert time.process_time() - start < 0.2


def test_short_values_are_shown_as_they_are():
    for value in (5, -1.5, "name", [1, 2, 3], None, True, {"a": 1}):
        assert shown(value) == repr(value)


def test_what_is_cut_keeps_its_ends():
    short = cut("beginning" + "x" * 5000 + "end", 24)
    assert len(short) == 24 and short.startswith("beginning") and short.endswith("end")


def test_a_bound_is_inclusive():
    config = ConfigReader({"n": 5, "x": 2}, "config.json")
    assert config.integer("n", 5, 5) == 5 and config.number("x", 2, 2) == 2.0
    assert config.integer("absent", 1, 2, None) is None
    for low, high in ((6, 9), (1, 4)):
        with pytest.raises(CheckpointError, match=rf"'n' is 5 \(expected an integer from {low}"):
            config.integer("n", low, high)


def test_a_value_that_a_conditioner_does_not_know():
    mood = {"type": "lut", "lut": {"dim": 16, "n_bins": 2, "possible_values": ["calm", "glad"]}}
    raw = {"conditioners": {"mood": mood}, "fuser": {"sum": ["mood"]}}
    provider = ConditionProvider(ConditionersConfig.read(ConfigReader(raw, "config.json")), 32)
    with pytest.raises(ValueError, match=r"^mood is 'sad' \(expected one of calm, glad\)$"):
        provider.sum({"mood": "sad"})
