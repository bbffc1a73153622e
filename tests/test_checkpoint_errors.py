"""Damaged checkpoints: each is one CheckpointError, of one line, naming the file and the fault."""

import http.server
import json
import math
import os
import struct
import subprocess
import sys
import threading

import golden as fixtures
import mlx.core as mx
import pytest
from safetensors.numpy import load_file, save_file

import dsm_mlx
from dsm_mlx.errors import CheckpointError

MODEL, MIMI = "model.safetensors", "mimi-pytorch-e351c8d8@125.safetensors"
TOKENIZER = "tokenizer_en_fr_audio_96.model"


@pytest.fixture
def folder(tmp_path):
    """A whole checkpoint to damage."""
    return fixtures.assemble("stt-tiny-cond", tmp_path / "checkpoint")


def error_of(model) -> str:
    with pytest.raises(CheckpointError) as caught:
        dsm_mlx.load_stt(model)
    message = str(caught.value)
    assert "\n" not in message
    return message


def rewrite(path, change) -> None:
    """Apply `change` to the header of a safetensors file; the body stays."""
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    change(header)
    packed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(packed)) + packed + raw[8 + length :])


def test_the_undamaged_checkpoint_loads(folder):
    assert dsm_mlx.load_stt(folder).sample_rate == 24000
    assert dsm_mlx.load_stt(folder / "config.json").delay == 0.5


# ---- weights ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MODEL, MIMI])
@pytest.mark.parametrize("left", [0, 5, 8, 2000, -1, -50_000])
def test_weights_cut_short(folder, name, left):
    path = folder / name
    path.write_bytes(path.read_bytes()[:left])
    message = error_of(folder)
    assert str(path) in message
    assert "cut short" in message or "not a safetensors file" in message


@pytest.mark.parametrize(
    "content",
    [
        b"some text, not a model\n" * 50,
        b"PK\x03\x04" + bytes(500),
        struct.pack("<Q", 5 * 10**5) + b'{"a":' * 10**5,
    ],
    ids=["text", "zip", "deep"],
)
def test_weights_of_another_kind(folder, content):
    (folder / MODEL).write_bytes(content)
    assert f"{folder / MODEL}: not a safetensors file" in error_of(folder)


def change_tensors(path, change) -> None:
    """Apply `change` to the tensors of a safetensors file."""
    tensors = mx.load(str(path))
    mx.eval(tensors)
    change(tensors)
    mx.save_safetensors(str(path), tensors)


def test_a_tensor_is_missing(folder):
    change_tensors(folder / MODEL, lambda tensors: tensors.pop("text_linear.weight"))
    assert f"{folder / MODEL}: does not fit" in error_of(folder)
    assert "missing: text_linear.weight [96, 64]" in error_of(folder)


MORE = [
    (MODEL, "transformer.layers.3.norm1.alpha"),
    (MODEL, "text_linear.bias"),
    (MODEL, "emb.8.weight"),
    (MIMI, "quantizer.rvq_first.vq.layers.0._codebook.extra"),
    (MIMI, "decoder.model.2.convtr.convtr.g"),
]


@pytest.mark.parametrize(("file", "name"), MORE)
def test_a_tensor_is_more_of_what_the_model_has(folder, file, name):
    """Another layer, a bias: the model would not be what its makers meant."""
    change_tensors(folder / file, lambda tensors: tensors.update({name: mx.zeros(3)}))
    message = error_of(folder)
    assert str(folder / file) in message and f"unexpected: {name}" in message


@pytest.mark.parametrize("file", [MODEL, MIMI])
def test_tensors_of_no_concern_are_left_out_with_a_warning(folder, file, caplog):
    extra = {"vad.weight": mx.zeros((2, 3)), "decoder.extra": mx.zeros(3), "steps": mx.array([5])}
    change_tensors(folder / file, lambda tensors: tensors.update(extra))
    assert dsm_mlx.load_stt(folder).sample_rate == 24000
    told = [record.message for record in caplog.records if "left out" in record.message]
    assert told == [
        f"{folder / file}: holds 3 tensors that the model does not have, left out: "
        "decoder.extra; steps; vad.weight"
    ]
    # Where one is missing they are not what matters.
    needed = "text_linear.weight" if file == MODEL else "upsample.convtr.convtr.convtr.weight"
    change_tensors(folder / file, lambda tensors: tensors.pop(needed))
    assert f"missing: {needed}" in error_of(folder) and "vad" not in error_of(folder)


def test_a_tensor_is_misshapen(folder):
    path = folder / MIMI
    name = "quantizer.rvq_first.input_proj.weight"
    tensors = load_file(path)
    tensors[name] = tensors[name][:-1]
    save_file(tensors, path)
    message = error_of(folder)
    assert str(path) in message
    assert f"misshapen: {name} is [31, 64, 1], expected [32, 64, 1]" in message


def test_many_faults_are_one_error(folder):
    fixtures.edit_json(folder / "config.json", lambda c: c.update(dim=128))
    message = error_of(folder)
    assert str(folder / MODEL) in message and "more" in message
    assert len(message.replace(str(folder), "")) < 400


def malformed(change):
    """A change to the entry of one tensor in the header."""
    return lambda header: change(header["out_norm.alpha"])


def scales(shape: list[int]):
    """A tensor that makes a weight look quantised."""
    entry = {"dtype": "BF16", "shape": shape, "data_offsets": [0, 2 * math.prod(shape)]}
    return lambda header: header.update({"text_linear.scales": entry})


@pytest.mark.parametrize(
    "change",
    [
        malformed(lambda t: t.pop("data_offsets")),
        malformed(lambda t: t.update(data_offsets=[0, 4])),
        malformed(lambda t: t.update(data_offsets=[10**15, 10**15 + 128])),
        malformed(lambda t: t.update(data_offsets="here")),
        malformed(lambda t: t.update(shape=None)),
        malformed(lambda t: t.update(shape=[1, 1, -64])),
        malformed(lambda t: t.update(shape=["64"])),
        malformed(lambda t: t.update(dtype="I64")),
        malformed(lambda t: t.update(dtype="text")),
        malformed(lambda t: t.clear()),
        scales([96, 0]),
        scales([96, 64]),  # groups of one
    ],
)
def test_a_malformed_header(folder, change):
    rewrite(folder / MODEL, change)
    assert str(folder / MODEL) in error_of(folder)


def test_a_tensor_without_the_bytes_of_its_shape(folder):
    """It would read what belongs to its neighbours."""
    rewrite(folder / MODEL, malformed(lambda t: t.update(shape=[1, 1, 128])))
    assert "'out_norm.alpha' has 128 bytes (expected 256: BF16 [1, 1, 128])" in error_of(folder)


# ---- configs ---------------------------------------------------------------------------------

REQUIRED = [
    "card", "n_q", "dep_q", "delays", "dim", "text_card", "num_heads", "num_layers", "context",
    "mimi_name", "tokenizer_name",
]  # fmt: skip


@pytest.mark.parametrize("key", REQUIRED)
def test_config_without_a_key(folder, key):
    fixtures.edit_json(folder / "config.json", lambda c: c.pop(key))
    message = error_of(folder)
    assert str(folder / "config.json") in message
    assert f"'{key}' is missing" in message


@pytest.mark.parametrize("key", REQUIRED)
@pytest.mark.parametrize("value", [[], {}, True, -1, 1.5])
def test_config_with_a_wrong_type(folder, key, value):
    fixtures.edit_json(folder / "config.json", lambda c: c.update({key: value}))
    message = error_of(folder)
    assert str(folder / "config.json") in message
    assert f"'{key}' " in message and "expected" in message


def paths_of(values: dict, start=()):
    for key, value in values.items():
        yield (*start, key)
        if isinstance(value, dict):
            yield from paths_of(value, (*start, key))


def put(values: dict, path: tuple, value) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["config.json", "mimi_config.json"])
def test_nothing_in_a_config_is_taken_on_trust(folder, name):
    """Whatever stands anywhere in a config: it loads, or it is one CheckpointError."""
    original = (folder / name).read_text()
    refused = 0
    for path in paths_of(json.loads(original)):
        for value in ("word", -3, 0, [1, "x"], {"a": 1}, 1e300, 10**12, True, None):
            fixtures.edit_json(folder / name, lambda c, path=path, value=value: put(c, path, value))
            try:
                dsm_mlx.load_stt(folder)
            except CheckpointError as error:
                refused += 1
                assert "\n" not in str(error)
            except Exception as error:
                pytest.fail(f"{'.'.join(path)} = {value!r} gives {error!r}")
            (folder / name).write_text(original)
    assert refused > 100


@pytest.mark.parametrize("name", ["config.json", "mimi_config.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"\xff\xfe\x00", b"dim: 64", b'{"a":' * 10**5, b"9" * 10**4],
    ids=["empty", "open", "list", "binary", "yaml", "deep", "long"],
)
def test_config_that_is_not_an_object(folder, name, content):
    (folder / name).write_bytes(content)
    assert str(folder / name) in error_of(folder)


def test_a_text_to_speech_model_does_not_listen(tmp_path):
    message = error_of(fixtures.assemble("tts-tiny", tmp_path / "tts"))
    assert "'model_type' is 'tts' (expected 'stt')" in message


@pytest.mark.parametrize(
    "section, key, value",
    [
        (None, "depformer_num_heads", 7),
        (None, "depformer_dim_feedforward", 0),
        (None, "depformer_dim_feedforward", 1),
        (None, "depformer_low_rank_embeddings", -3),
        ("conditioners", "cfg", {"type": "lut", "dim": 16, "n_bins": 7, "possible_values": ["x"]}),
        ("tts_config", "second_stream_ahead", -1),
        ("lm_gen_config", "temp", -0.5),
        ("lm_gen_config", "cfg_coef", "strong"),
    ],
)
def test_values_that_only_a_model_that_speaks_has(tmp_path, section, key, value):
    folder = fixtures.assemble("tts-tiny", tmp_path / "tts")
    fixtures.edit_json(
        folder / "config.json", lambda c: put(c, (section, key) if section else (key,), value)
    )
    with pytest.raises(CheckpointError, match=f"'{key}' ") as caught:
        dsm_mlx.load_tts(folder)
    assert str(folder / "config.json") in str(caught.value)


@pytest.mark.parametrize("values", [[], ["0.5", "soon"]])
def test_delays_that_are_not_numbers(folder, values):
    delay = {"type": "lut", "dim": 16, "n_bins": 7, "possible_values": values}
    fixtures.edit_json(folder / "config.json", lambda c: c["conditioners"].update(delay=delay))
    assert f"{folder / 'config.json'}: conditioners: 'delay' knows" in error_of(folder)


@pytest.mark.parametrize("ratios", [[], [8, 6, 0, 4], [8, -6, 5, 4]])
def test_a_codec_with_impossible_strides(folder, ratios):
    fixtures.edit_json(folder / "mimi_config.json", lambda c: c["seanet"].update(ratios=ratios))
    assert f"{folder / 'mimi_config.json'}: seanet: 'ratios' " in error_of(folder)


def test_a_codec_with_too_few_codebooks(folder):
    fixtures.edit_json(folder / "mimi_config.json", lambda c: c["quantizer"].update(n_q=4))
    assert str(folder) in error_of(folder)


# ---- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", MODEL, MIMI, "mimi_config.json", TOKENIZER])
def test_a_file_is_missing(folder, name):
    (folder / name).unlink()
    message = error_of(folder)
    assert str(folder) in message and name in message


@pytest.mark.parametrize("content", [b"", b"Not a tokenizer.\n" * 40, bytes(300)])
def test_a_tokenizer_that_is_not_one(folder, content):
    (folder / TOKENIZER).write_bytes(content)
    assert f"{folder / TOKENIZER}: not a SentencePiece model" in error_of(folder)


def test_a_tokenizer_of_another_model(folder):
    other = fixtures.CHECKPOINTS / "tokenizers/tokenizer_spm_160_en_fr_audio.model"
    (folder / TOKENIZER).write_bytes(other.read_bytes())
    message = error_of(folder)
    assert str(folder / TOKENIZER) in message and "160" in message and "96" in message


# ---- the hub ---------------------------------------------------------------------------------


class NotFound(http.server.BaseHTTPRequestHandler):
    """A hub that has nothing."""

    def do_HEAD(self):
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *args):
        pass


def test_a_repository_that_does_not_exist(tmp_path):
    """With the hub's real client; what happens without a network is in test_hub.py."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    program = (
        "import dsm_mlx\n"
        "try: dsm_mlx.load_stt('someone/no-such-model')\n"
        "except dsm_mlx.CheckpointError as error: print(error)"
    )
    hub = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=os.environ | hub | {"NO_PROXY": "*"}, capture_output=True, text=True
    )
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "someone/no-such-model" in done.stdout and "config.json" in done.stdout
