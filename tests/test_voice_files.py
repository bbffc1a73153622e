"""Voices as files and names: what is near to a misspelt one, and what no voice can be."""

import math
import os
import shutil
from types import SimpleNamespace

import mlx.core as mx
import numpy as np
import pytest

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import hub, network
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.voices import Voices, embedding_of, read_embedding

SUFFIX = ".deadbeef@7.safetensors"
WIDTH = 24


@pytest.fixture
def folder(checkpoint, tmp_path):
    return shutil.copytree(checkpoint("tts-tiny"), tmp_path / "model")


def write(path, array):
    mx.save_safetensors(str(path), {"speaker_wavs": array})
    return path


def message_of(voices: Voices, name) -> str:
    with pytest.raises(CheckpointError) as error:
        voices.find(name)
    assert str(error.value).isprintable() and len(str(error.value)) < 400
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("voice1", "voice1.wav"), ("Voice1.wav", "voice1.wav"), ("voise2.wav", "voice2.wav")],
)
def test_a_misspelt_voice_is_answered_with_the_near_one(folder, name, meant):
    message = message_of(Voices(hub.LocalFiles(folder), SUFFIX), name)
    assert f"voice {name!r}: not a file" in message and "did you mean " in message
    assert repr(meant) in message
    assert str(folder) not in message and "safetensors" not in message


def test_the_last_part_of_a_long_name_is_enough(monkeypatch):
    names = [f"expresso/ex03-ex01_{mood}_001_channel1_334s.wav" for mood in ("happy", "calm")]
    monkeypatch.setattr(network, "list_files", lambda _: [name + SUFFIX for name in names])

    def none(*_):
        raise network.NoFile("no such file")

    monkeypatch.setattr(network, "download", none)
    voices = Voices(hub.HubFiles("kyutai/tts-1.6b-en_fr"), SUFFIX)
    assert repr(names[1]) in message_of(voices, "ex03-ex01_calm_001_channel1_334s")


def test_one_letter_of_three_may_be_wrong():
    voices = Voices.of(Checkpoint.find("tiny", "tts"))
    assert message_of(voices, "slr").endswith("; did you mean 'slt'?")
    assert "did you mean" not in message_of(voices, "bob")


def test_nothing_near_is_said_of_a_name_like_no_other(folder):
    message = message_of(Voices(hub.LocalFiles(folder), SUFFIX), "Shakespeare")
    assert "did you mean" not in message and "--list-voices" in message


@pytest.mark.parametrize(
    "name",
    ["", "n" * 5000, "a/" * 3000, "a\0b", "a\nb", "../model/voice0.wav", "hf://", "hf://a/b"],
)
def test_names_of_no_voice(folder, name):
    assert "voice " in message_of(Voices(hub.LocalFiles(folder), SUFFIX), name)


@pytest.mark.parametrize("name", ["hf://a b/c/d", "hf://../../x", "hf://a/../x"])
def test_a_repository_that_cannot_be(folder, name):
    message_of(Voices(hub.LocalFiles(folder), SUFFIX), name)


@pytest.mark.parametrize("voice", [5, b"voice0.wav", ["voice0.wav"], 1.5])
def test_a_voice_of_a_wrong_type(folder, voice):
    with pytest.raises(TypeError, match=r"voice is .*expected a name, a path or hf://"):
        Voices(hub.LocalFiles(folder), SUFFIX).find(voice)


def test_only_files_are_voices(folder, tmp_path):
    """Folders and links that lead nowhere are not listed; a link to a file is a file."""
    (folder / f"folder.wav{SUFFIX}").mkdir()
    (folder / f"gone.wav{SUFFIX}").symlink_to(tmp_path / "gone")
    (folder / f"round.wav{SUFFIX}").symlink_to(folder / f"round.wav{SUFFIX}")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    os.mkfifo(folder / f"pipe.wav{SUFFIX}")
    shutil.move(folder / f"voice0.wav{SUFFIX}", tmp_path / "elsewhere")
    (folder / f"voice0.wav{SUFFIX}").symlink_to(tmp_path / "elsewhere")
    voices = Voices(hub.LocalFiles(folder), SUFFIX)
    assert voices.names() == ["voice0.wav", "voice1.wav", "voice2.wav"]
    assert voices.find("voice0.wav").read_bytes() == (tmp_path / "elsewhere").read_bytes()
    for name in ("folder.wav", "gone.wav", "round.wav", "pipe.wav"):
        assert "not a file" in message_of(voices, name)


@pytest.mark.parametrize("identity", ["../../x", "a/b", "n" * 100, "", ["x"], 1.5, True])
def test_a_model_whose_name_would_lead_out_of_its_folder(identity):
    from dsm_mlx.files.config_reader import ConfigReader

    values = {"conditioners": {"speaker_wavs": {}}, "model_id": {"sig": identity, "epoch": 1}}
    config = ConfigReader(values, "config.json")
    with pytest.raises(CheckpointError, match=r"config\.json: model_id: 'sig' is"):
        Voices.of(SimpleNamespace(config=config, files=None))


def test_a_model_that_tells_half_of_its_name_takes_any_voice(checkpoint):
    found = Checkpoint.find(checkpoint("tts-tiny"), "tts")
    assert Voices.of(found).suffix == SUFFIX
    found.config.values["model_id"].pop("sig")
    assert Voices.of(found).suffix == ".safetensors"


# ---- embeddings ------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_voice_file_that_is_not_finite(tmp_path, value):
    one = mx.zeros((1, WIDTH, 10)).at[0, 3, 4].add(value)
    for array in (one, mx.full((1, WIDTH, 10), value)):
        path = write(tmp_path / "v.safetensors", array)
        with pytest.raises(CheckpointError, match="not finite") as error:
            read_embedding(path, WIDTH, {})
        assert str(path) in str(error.value)


def test_a_voice_file_of_integers(tmp_path):
    path = write(tmp_path / "v.safetensors", mx.ones((1, WIDTH, 10), mx.int32))
    with pytest.raises(CheckpointError, match="speaker_wavs is I32") as error:
        read_embedding(path, WIDTH, {})
    assert str(path) in str(error.value)


def test_a_voice_file_without_end(tmp_path):
    path = write(tmp_path / "v.safetensors", mx.ones((1, WIDTH, 3001)))
    with pytest.raises(CheckpointError, match=r"\[1, 24, 3001\] .expected"):
        read_embedding(path, WIDTH, {})


VOICE = np.random.default_rng(0).standard_normal((10, WIDTH)).astype(np.float32)


@pytest.mark.parametrize(
    "array",
    [
        VOICE,
        VOICE.T[None],
        VOICE.astype(np.float64),
        mx.array(VOICE),
        mx.array(VOICE.T[None]),
        VOICE.tolist(),
        SimpleNamespace(__array__=lambda dtype=None, copy=None: VOICE),
    ],
    ids=["numpy", "as in files", "wide", "mlx", "mlx as in files", "lists", "other"],
)
def test_arrays_that_are_voices(array):
    found = embedding_of(array, WIDTH)
    assert found.dtype == mx.float32
    np.testing.assert_array_equal(found, VOICE)


def test_a_narrow_array_is_a_voice_too():
    found = embedding_of(mx.array(VOICE).astype(mx.bfloat16), WIDTH)
    np.testing.assert_allclose(found, VOICE, atol=0.02)


def test_a_file_and_its_array_are_the_same_voice(tmp_path):
    path = write(tmp_path / "v.safetensors", mx.array(VOICE.T[None]))
    np.testing.assert_array_equal(read_embedding(path, WIDTH, {}), embedding_of(VOICE, WIDTH))


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (VOICE[:, :5], ValueError),
        (VOICE[:0], ValueError),
        (VOICE[None], ValueError),
        (VOICE[0], ValueError),
        (np.zeros((4000, WIDTH), np.float32), ValueError),
        (np.full((10, WIDTH), np.nan, np.float32), ValueError),
        (np.where(VOICE > 2, np.inf, VOICE), ValueError),
        (VOICE.astype(np.int32), TypeError),
        (mx.ones((10, WIDTH), mx.int32), TypeError),
        (VOICE.astype(np.complex64), TypeError),
        ("voice0.wav", TypeError),
        (object(), TypeError),
        (None, TypeError),
        ([[1.0], [1.0, 2.0]], TypeError),
    ],
)
def test_arrays_that_are_no_voices(array, error):
    with pytest.raises(error, match="voice ") as caught:
        embedding_of(array, WIDTH)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250
