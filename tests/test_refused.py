"""What is refused on purpose is refused by name, with the reason, whatever it is asked for."""

import json
import shutil

import golden as fixtures
import pytest
from converting import run
from test_hub import cache, put  # noqa: F401

import dsm_mlx
from dsm_mlx.errors import CheckpointError

BOTH = "which hears and speaks at the same time, and here models do one of the two"
LOADERS = (dsm_mlx.load_stt, dsm_mlx.load_tts, dsm_mlx.load_codec)


@pytest.fixture
def folder(tmp_path):
    return fixtures.assemble("tts-tiny", tmp_path / "some-model")


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("moshi", f"of a dialogue model (Moshi), {BOTH}"),
        ("hibiki", f"of a model that translates speech (Hibiki), {BOTH}"),
        ("pocket_tts", "of Pocket TTS, no model of delayed streams"),
    ],
)
def test_by_what_the_config_says(kind, message, load, folder):
    fixtures.edit_json(folder / "config.json", lambda c: c.update(model_type=kind))
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{folder / 'config.json'}: {message}")
    assert "\n" not in str(caught.value)


def dialogue(config: dict) -> None:
    """As older ones are: eight of sixteen codebooks are the other one's, and no type is named."""
    del config["model_type"], config["tts_config"]
    config.update(dep_q=4)


def test_by_its_shape(folder, capsys):
    fixtures.edit_json(folder / "config.json", dialogue)
    for load in LOADERS:
        with pytest.raises(CheckpointError, match="dialogue model"):
            load(folder)
    for args in (("--inspect", folder), (folder, folder.parent / "new")):
        assert run(*args) == 1
        assert "a dialogue model (Moshi)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("kyutai/moshiko-pytorch-bf16", "dialogue"),
        ("kyutai/moshika-mlx-q4", "dialogue"),
        ("kyutai/hibiki-1b-pytorch-bf16", "translates speech"),
        ("kyutai/pocket-tts", "latents in the place of codes"),
    ],
)
def test_by_its_name(name, message, folder, cache, monkeypatch, tmp_path):  # noqa: F811
    """A repository without a config, on the hub, and a folder of that name."""
    own = tmp_path / name.rpartition("/")[2]
    own.mkdir()
    with pytest.raises(CheckpointError, match=message):
        dsm_mlx.load_stt(own)
    fixtures.edit_json(folder / "config.json", dialogue)
    put(cache[0], name, folder)
    with pytest.raises(CheckpointError, match=message if "pocket" not in name else "latents"):
        dsm_mlx.load_stt(name)


def test_what_is_not_refused(folder, tmp_path):
    """A model that speaks and hears more than it writes; any other folder without a config."""
    other = shutil.copytree(folder, tmp_path / "hibiki-like")
    assert json.loads((other / "config.json").read_text())["model_type"] == "tts"
    assert dsm_mlx.load_tts(other).info.kind == "tts"
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"has no file 'config.json'"):
        dsm_mlx.load_stt(tmp_path / "empty")


def test_conditions_that_are_put_in_front(folder):
    """Of which the reference has the beginnings, and refuses them."""
    fixtures.edit_json(folder / "config.json", lambda c: c["fuser"].update(prepend=["control"]))
    with pytest.raises(CheckpointError, match=r"'prepend' names control .expected none: the ref"):
        dsm_mlx.load_tts(folder)
