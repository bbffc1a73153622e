"""What a safetensors file may be: everything that its format demands is checked in one place."""

import json
import math
import random
import struct
import time

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from safetensors.numpy import save_file

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.safetensors import read_header

MODEL, MIMI = "model.safetensors", "mimi-pytorch-e351c8d8@125.safetensors"


def write(path, header, body=bytes(24)):
    """A file with this header: an object, or the text of one."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)
    return path


def entry(start, end, shape=None, dtype="F32"):
    return {"dtype": dtype, "shape": shape or [(end - start) // 4], "data_offsets": [start, end]}


def refusal(path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_header(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and message.isprintable()
    assert len(message.replace(str(path), "")) < 250
    return message


def test_a_whole_file(tmp_path):
    header = {"a": entry(8, 24, [2, 2]), "b": entry(0, 8), "none": entry(8, 8, [0, 3])}
    found = read_header(write(tmp_path / "f", header | {"__metadata__": {"k": "v"}}))
    assert found.shapes == {"a": (2, 2), "b": (2,), "none": (0, 3)}
    assert found.metadata == {"k": "v"}


def test_files_of_others_are_whole(tmp_path):
    tensors = {"a": np.ones((2, 3), np.float16), "b": np.zeros(0, np.float32), "c": np.ones(())}
    save_file(tensors, tmp_path / "theirs")
    assert read_header(tmp_path / "theirs").shapes == {"a": (2, 3), "b": (0,), "c": ()}
    mx.save_safetensors(str(tmp_path / "ours"), {"a": mx.ones((2, 3)), "b": mx.ones(3)})
    assert len(read_header(tmp_path / "ours.safetensors").tensors) == 2


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"a": entry(0, 16), "b": entry(8, 24)}, "'b' overlaps the tensor before it"),
        ({"a": entry(0, 24), "b": entry(0, 24)}, "overlaps"),
        ({"a": entry(0, 8), "b": entry(12, 24)}, "'b' does not follow on another"),
        ({"a": entry(4, 24)}, "'a' does not follow on another"),
        ({"a": entry(0, 20)}, "has 4 bytes that belong to no tensor"),
        ({}, "has 24 bytes that belong to no tensor"),
        ({"a": entry(0, 28)}, "cut short: 24 bytes of tensors, expected 28"),
        ({"a": entry(0, 24) | {"data_offsets": [10**30, 10**30 + 24]}}, "does not follow"),
        ({"a": entry(0, 24, [5])}, r"'a' has 24 bytes (expected 20: F32 [5])"),
        ({"a": entry(0, 24, [-2, -3])}, "'a' has the shape [-2, -3]"),
        ({"a": entry(0, 24, [6.0])}, "'a' has the shape [6.0]"),
        ({"a": entry(0, 24, [True, 6])}, "'a' has the shape [True, 6]"),
        ({"a": entry(0, 24, {"0": 6})}, "'a' has the shape"),
        ({"a": entry(0, 24, ["6"])}, "'a' has the shape"),
        ({"a": entry(0, 0, [0, 10**30])}, "'a' has the shape"),
        ({"a": entry(0, 24, [6] * 10_000)}, "'a' has"),
        ({"a": entry(0, 24) | {"data_offsets": [0, 24, 0]}}, "'a' has the offsets [0, 24, 0]"),
        ({"a": entry(0, 24) | {"data_offsets": [-24, 0]}}, "'a' has the offsets [-24, 0]"),
        ({"a": entry(0, 24) | {"data_offsets": None}}, "'a' has the offsets None"),
        ({"a": entry(0, 24, dtype="F4")}, "'a' is of type 'F4', which is not supported"),
        ({"a": entry(0, 24, dtype=["F32"])}, "'a' is of type ['F32'], which is not supported"),
        ({"a": [0, 24]}, "'a' is no object"),
        ({"a": None}, "'a' is no object"),
        ({"n" * 5000: 1}, "is no object"),
        ({"\n\x1b[2J": 1}, "is no object"),
        ([1, 2], "it is not an object"),
        ({"__metadata__": ["k"]}, "its metadata are not strings"),
        ({"__metadata__": {"k": {"deep": 1}}}, "its metadata are not strings"),
        (b'{"a": {}, "a": {}}', "not a safetensors file"),
        (b'{"\xff\xfe": 1}', "not a safetensors file"),
        ('{"a": 1}'.encode("utf-16"), "not a safetensors file"),
        (b'{"a":' * 50_000, "not a safetensors file"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not a safetensors file"),
    ],
)
def test_a_header_that_cannot_be(tmp_path, header, message):
    assert message in refusal(write(tmp_path / "f", header))


def test_a_key_that_stands_twice_in_an_entry(tmp_path):
    twice = b'{"a": {"dtype": "F32", "shape": [6], "shape": [6], "data_offsets": [0, 24]}}'
    assert "not a safetensors file" in refusal(write(tmp_path / "f", twice))


@pytest.mark.parametrize("content", [b"", b"\x08\0\0", bytes(8), struct.pack("<Q", 2**63)])
def test_a_file_without_a_header(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    assert "not a safetensors file" in refusal(tmp_path / "f")


def test_a_header_that_is_too_large(tmp_path):
    """It is not even read: the file has a hole in its place."""
    with (tmp_path / "f").open("wb") as file:
        file.write(struct.pack("<Q", 10**9))
        file.truncate(2 * 10**9)
    start = time.monotonic()
    assert "not a safetensors file" in refusal(tmp_path / "f")
    assert time.monotonic() - start < 0.5


def test_a_folder_is_no_file(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


# ---- in a checkpoint -------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    return fixtures.assemble("stt-tiny", tmp_path / "checkpoint")


def change(path, name, make) -> None:
    tensors = mx.load(str(path))
    mx.eval(tensors)
    tensors[name] = make(tensors[name])
    mx.save_safetensors(str(path), tensors)


@pytest.mark.parametrize(
    ("file", "name"),
    [(MODEL, "text_linear.weight"), (MIMI, "downsample.conv.conv.conv.weight")],
)
@pytest.mark.parametrize("dtype", [mx.int32, mx.uint16, mx.bool_, mx.int64])
def test_integers_where_floats_belong(folder, file, name, dtype):
    change(folder / file, name, lambda array: array.astype(dtype))
    with pytest.raises(CheckpointError, match=f"mistyped: {name} is .*, expected F32 or BF16 or F"):
        dsm_mlx.load_stt(folder)


@pytest.mark.parametrize(
    ("name", "dtype", "message"),
    [
        ("text_linear.weight", mx.float32, "expected U32"),
        ("text_linear.weight", mx.int32, "expected U32"),
        ("text_linear.scales", mx.int16, "expected F32"),
        ("text_linear.biases", mx.uint32, "expected F32"),
    ],
)
def test_parts_of_quantised_weights(tmp_path, name, dtype, message):
    folder = fixtures.assemble("stt-q64-mlx-q4", tmp_path / "checkpoint")
    change(folder / "model.q4.safetensors", name, lambda array: array.astype(dtype))
    with pytest.raises(CheckpointError, match=f"mistyped: {name} .*{message}"):
        dsm_mlx.load_stt(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        (MODEL, "transformer.layers.1.self_attn.in_proj_weight"),
        (MODEL, "emb.3.weight"),  # one of those that are joined
        (MODEL, "out_norm.alpha"),
        (MIMI, "encoder.model.0.conv.conv.bias"),
        (MIMI, "quantizer.rvq_rest.vq.layers.2._codebook.embedding_sum"),
    ],
)
def test_a_weight_that_is_not_finite_is_named(folder, file, name, value):
    def spoil(array):
        flat = array.flatten()
        flat[-1] = value
        return flat.reshape(array.shape)

    change(folder / file, name, spoil)
    with pytest.raises(CheckpointError) as error:
        dsm_mlx.load_stt(folder)
    assert f"{folder / file}: {name} holds values that are not finite" == str(error.value)


def test_a_weight_that_is_too_large_for_the_type_asked_for(folder):
    change(folder / MODEL, "out_norm.alpha", lambda array: array * 0 + 1e6)
    dsm_mlx.load_stt(folder, dtype="float32")
    with pytest.raises(CheckpointError, match=r"out_norm.* too large for float16"):
        dsm_mlx.load_stt(folder, dtype="float16")


def test_a_sum_that_overflows_is_no_fault(folder):
    """The values are what counts: here they are finite, and their sum in float16 is not."""
    change(folder / MODEL, "text_linear.weight", lambda array: array * 0 + 6e4)
    assert dsm_mlx.load_stt(folder, dtype="float16")


def test_scales_that_are_not_finite(tmp_path):
    folder = fixtures.assemble("stt-q64-mlx-q8", tmp_path / "checkpoint")
    file, name = folder / "model.q8.safetensors", "transformer.layers.0.gating.linear_in.scales"
    change(file, name, lambda array: array * mx.inf)
    with pytest.raises(CheckpointError, match=f"{name} holds values that are not finite"):
        dsm_mlx.load_stt(folder)


def test_damage_anywhere_is_one_error_or_none(folder):
    """Bytes of the headers, the tokenizer and the voices flipped at random."""
    chance = random.Random(0)
    refused = 0
    for file, bytes_ in ((MODEL, 4000), (MIMI, 4000), ("tokenizer_en_fr_audio_96.model", 2000)):
        whole = (folder / file).read_bytes()
        for _ in range(40):
            damaged = bytearray(whole)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(min(bytes_, len(whole)))] = chance.randrange(256)
            (folder / file).write_bytes(damaged)
            try:
                dsm_mlx.load_stt(folder)
            except CheckpointError as error:
                refused += 1
                assert str(error).isprintable()
                assert len(str(error).replace(str(folder), "")) < 350
        (folder / file).write_bytes(whole)
    assert refused > 60
