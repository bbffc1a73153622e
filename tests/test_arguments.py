"""What a user may hand in where sound or a number belongs, and what is said of anything else."""

import io

import mlx.core as mx
import numpy as np
import pytest
import soundfile

import dsm_mlx
from dsm_mlx import AudioError

RATE = 24_000
PCM = 0.2 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)


@pytest.fixture(scope="module")
def stt(small):
    return dsm_mlx.load_stt(small("stt-tiny"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    soundfile.write(path, PCM, RATE, "FLOAT")
    return path


@pytest.mark.parametrize(
    "make",
    [
        str,
        lambda path: path.read_bytes(),
        lambda path: bytearray(path.read_bytes()),
        lambda path: io.BytesIO(path.read_bytes()),
        lambda path: PCM,
        lambda path: mx.array(PCM),
        lambda path: PCM.astype(np.float64),
    ],
)
def test_all_that_a_recording_may_be(stt, path, make):
    whole = stt.transcribe(path)
    given = make(path)
    rate = RATE if hasattr(given, "dtype") else None
    assert whole.words and stt.transcribe(given, sample_rate=rate) == whole
    assert stt.transcribe([make(path), path], sample_rate=rate) == [whole, whole]


@pytest.mark.parametrize(
    "audio, error",
    [
        (None, TypeError),
        (7, TypeError),
        (object(), TypeError),
        ({"audio": PCM}, TypeError),
        ({"a.wav"}, TypeError),
        (iter(["a.wav"]), TypeError),
        (PCM, ValueError),  # at which rate?
        (mx.array(PCM), ValueError),
        (list(range(9)), TypeError),
        (b"no sound at all", AudioError),
        (io.StringIO("text"), (TypeError, AudioError)),
        ("x" * 5000, AudioError),
    ],
)
def test_what_is_no_recording_is_one_short_error(stt, audio, error):
    with pytest.raises(error) as caught:
        stt.transcribe(audio)
    message = str(caught.value)
    assert 0 < len(message) < 400 and message.isprintable()
    assert stt.stats()["streams"] == 0


@pytest.mark.parametrize("rate", ["16000", None, [16_000], 1j])
def test_a_rate_of_a_wrong_type_is_named(stt, rate):
    with pytest.raises((TypeError, ValueError), match="sample_rate"):
        stt.transcribe(PCM, sample_rate=rate)


def test_events_are_of_a_list(stt, path):
    with pytest.raises(TypeError, match=r"audio is str .expected a list of recordings"):
        stt.transcribe_events(str(path))


@pytest.mark.parametrize(
    "options, error",
    [
        ({"cache": "1GB"}, TypeError),
        ({"cache": 1e9}, TypeError),
        ({"cache": None}, TypeError),
        ({"cache": -1}, ValueError),
        ({"wired": "1GB"}, TypeError),
        ({"wired": -1}, ValueError),
    ],
)
def test_memory_in_something_else_than_bytes(options, error):
    (name,) = options
    with pytest.raises(error, match=rf"{name} is .*expected"):
        dsm_mlx.limit_memory(**options)
