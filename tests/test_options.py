"""Options of loading: checked before anything is read or downloaded, each with an error of ours."""

import dataclasses

import mlx.core as mx
import pytest

import dsm_mlx
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions


def test_what_is_left_open():
    assert LoadOptions() == LoadOptions(bits=None, dtype=None, cache=None, codebooks=None)
    assert LoadOptions(8, "float16", "q8", 4).codebooks == 4
    with pytest.raises(dataclasses.FrozenInstanceError):
        LoadOptions().bits = 4


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"bits": 3}, ValueError, r"bits is 3 \(expected 4 or 8\)"),
        ({"bits": 10**30}, ValueError, "bits is 1000"),
        ({"bits": "4"}, TypeError, r"bits is '4' \(expected 4 or 8\)"),
        ({"bits": 4.0}, TypeError, "bits is 4.0"),
        ({"bits": True}, TypeError, "bits is True"),
        ({"bits": [4]}, TypeError, "bits is"),
        (
            {"dtype": "int8"},
            ValueError,
            "dtype is 'int8' .expected float32, bfloat16 or float16",
        ),
        ({"dtype": "x" * 5000}, ValueError, "dtype is 'xxx"),
        ({"dtype": 16}, TypeError, "dtype is 16"),
        ({"dtype": mx.float16}, TypeError, "dtype is .* .expected float32"),
        ({"dtype": ["float32"]}, TypeError, "dtype is"),
        (
            {"cache": "q4"},
            ValueError,
            "cache is 'q4' .expected float32, bfloat16, float16 or q8",
        ),
        ({"cache": 8}, TypeError, "cache is 8"),
        ({"codebooks": 0}, ValueError, r"codebooks is 0 \(expected 1 or more\)"),
        ({"codebooks": "8"}, TypeError, "codebooks is '8'"),
        ({"codebooks": 2.0}, TypeError, r"codebooks is 2\.0"),
    ],
)
def test_what_cannot_be(options, error, message):
    with pytest.raises(error, match=message) as caught:
        LoadOptions(**options)
    assert len(str(caught.value)) < 200
    with pytest.raises(error, match=message):  # there is one place where all pass
        Checkpoint.find("tiny", "tts").load_lm(**options)
    with pytest.raises(error, match=message):
        dsm_mlx.load_tts("tiny", **options)


@pytest.mark.parametrize("codebooks", [0, 9, "2", 1.5, True])
def test_codebooks_of_a_codec(codebooks):
    with pytest.raises((TypeError, ValueError), match=f"codebooks is {codebooks!r} "):
        dsm_mlx.load_codec("tiny", codebooks=codebooks)
