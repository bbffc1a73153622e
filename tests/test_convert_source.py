"""What is refused of a source, before anything is computed or copied."""

import json
import shutil
from pathlib import Path

import golden as fixtures
import mlx.core as mx
import pytest
from converting import left_over, refused, run
from converting import source as source
from converting import voiced as voiced

import dsm_mlx


def without_one_tensor(path):
    tensors = mx.load(str(path))
    tensors.pop(min(tensors))
    mx.save_safetensors(str(path), tensors)


@pytest.mark.parametrize(
    "part, damage, message",
    [
        ("model", lambda p: p.write_bytes(p.read_bytes()[:-10]), "cut short"),
        ("model", lambda p: p.write_bytes(b"nonsense" * 9), "safetensors"),
        ("model", lambda p: p.unlink(), "has no file"),
        ("mimi", lambda p: p.unlink(), "has no file"),
        ("mimi", lambda p: without_one_tensor(p), "missing"),
        ("tokenizer", lambda p: p.unlink(), "has no file"),
        ("config", lambda p: p.write_text("{"), "not a readable JSON file"),
        ("config", lambda p: p.write_text("{}"), "is missing"),
    ],
)
def test_a_damaged_source_is_one_clear_error(part, damage, message, source, tmp_path, capsys):
    files = {"config": "config.json", "model": "model.safetensors"}
    config = json.loads((source / "config.json").read_text())
    files |= {"mimi": config["mimi_name"], "tokenizer": config["tokenizer_name"]}
    damage(source / files[part])
    assert run(source, tmp_path / "new") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and str(source) in error and message in error
    assert left_over(tmp_path) == {"source"}


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda p: p.write_bytes(b"nonsense"), "not a SentencePiece model"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "not a SentencePiece model"),
        (lambda p: p.write_bytes(b""), "not a SentencePiece model"),
    ],
)
def test_a_damaged_tokenizer_is_refused(damage, message, source, tmp_path, monkeypatch, capsys):
    name = json.loads((source / "config.json").read_text())["tokenizer_name"]
    damage(source / name)
    error = refused(source, tmp_path, monkeypatch, capsys)
    assert str(source / name) in error and message in error


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
@pytest.mark.parametrize("key", ["moshi_name", "mimi_name", "tokenizer_name", "mimi_config_name"])
def test_names_in_a_config_stay_inside_the_folder(key, name, source, tmp_path, capsys):
    fixtures.edit_json(source / "config.json", lambda c: c.update({key: name}))
    assert run(source, tmp_path / "new") == 1
    assert "is not the name of a file in its folder" in capsys.readouterr().err
    assert left_over(tmp_path) == {"source"}


@pytest.mark.parametrize(
    "key, name, message",
    [
        ("tokenizer_name", "model.safetensors", "the weights and the tokenizer"),
        ("tokenizer_name", "./model.safetensors", "the weights and the tokenizer"),
        ("tokenizer_name", "Model.SafeTensors", "'model.safetensors' and 'Model.SafeTensors'"),
        ("tokenizer_name", "CONFIG.JSON", "the config and the tokenizer"),
        ("tokenizer_name", "model.safetensors/x", "the weights and the tokenizer"),
        ("mimi_name", "model.safetensors", "the weights and the codec"),
        ("mimi_config_name", "config.json", "the config and the codec's config"),
    ],
)
def test_two_things_of_one_name_are_refused(
    key, name, message, source, tmp_path, monkeypatch, capsys
):
    """The source can hold both: its weights are called otherwise than the new folder's."""
    config = json.loads((source / "config.json").read_text())
    (source / "model.safetensors").rename(source / "weights.safetensors")
    content = (source / config[key]).read_bytes()
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(content)
    config |= {"moshi_name": "weights.safetensors", key: name}
    (source / "config.json").write_text(json.dumps(config))
    error = refused(source, tmp_path, monkeypatch, capsys)
    assert error.startswith("error: source: ") and message in error


def test_two_voices_of_one_name_are_refused(voiced, tmp_path, monkeypatch, capsys):
    file, one, other = "voice0.wav.deadbeef@7.safetensors", tmp_path / "one", tmp_path / "other"
    for place in (one, other):
        place.mkdir()
        shutil.copy(voiced / file, place / file)
    for pair in (
        [one / file, other / file],
        ["voice0.wav", one / file],
        [voiced / file, one / file],
    ):
        error = refused(voiced, tmp_path, monkeypatch, capsys, "--voices", *pair)
        paths = [voiced / file if name == "voice0.wav" else name for name in pair]
        assert f"the voice {paths[0]} and the voice {paths[1]} would" in error and file in error


def test_a_voice_that_is_named_twice_is_taken_once(voiced, tmp_path):
    twice = "voice1.wav", voiced / "voice1.wav.deadbeef@7.safetensors", "voice1.wav"
    assert run(voiced, tmp_path / "new", "--voices", *twice) == 0
    assert dsm_mlx.load_tts(tmp_path / "new").voices() == ["voice1.wav"]


def test_all_voices_are_the_sources_own(voiced, tmp_path, monkeypatch):
    """And not a file of such a name in the folder that the user happens to be in."""
    file = "voice1.wav.deadbeef@7.safetensors"
    (tmp_path / "here").mkdir()
    shutil.copy(voiced / "voice2.wav.deadbeef@7.safetensors", tmp_path / "here" / file)
    monkeypatch.chdir(tmp_path / "here")
    assert run(voiced, tmp_path / "new") == 0
    assert (tmp_path / "new" / file).read_bytes() == (voiced / file).read_bytes()


def test_a_voice_does_not_take_the_weights_name(voiced, tmp_path, monkeypatch, capsys):
    """A model that does not say for whom its voices are made takes any name."""
    fixtures.edit_json(voiced / "config.json", lambda c: c.pop("model_id"))
    other = tmp_path / "model.safetensors"
    shutil.copy(voiced / "voice1.wav.deadbeef@7.safetensors", other)
    error = refused(voiced, tmp_path, monkeypatch, capsys, "--voices", other)
    assert "the weights and the voice" in error


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer_name", "mimi_name", "mimi_config_name"]
)
def test_a_link_out_of_the_source_is_not_followed(file, source, tmp_path, monkeypatch, capsys):
    config = json.loads((source / "config.json").read_text())
    path, secret = source / config.get(file, file), tmp_path / "secret"
    path.rename(secret)
    path.symlink_to(secret)
    for flags in ([], ["-q", "--codec-bits", 8]):
        error = refused(source, tmp_path, monkeypatch, capsys, *flags)
        assert error.startswith("error: ") and f"{path}: is a link to {secret}" in error


def test_a_link_in_a_folder_of_any_name_is_told_in_a_line(source, tmp_path, monkeypatch, capsys):
    odd = source.rename(tmp_path / "two\nlines")
    (odd / "model.safetensors").rename(tmp_path / "secret")
    (odd / "model.safetensors").symlink_to(tmp_path / "secret")
    error = refused(odd, tmp_path, monkeypatch, capsys)
    assert "two\\nlines/model.safetensors: is a link to" in error and error.count("\n") == 1


def test_a_voice_that_is_a_link_out_of_the_source(voiced, tmp_path, monkeypatch, capsys):
    voice = voiced / "voice1.wav.deadbeef@7.safetensors"
    voice.rename(tmp_path / "elsewhere.safetensors")
    voice.symlink_to(tmp_path / "elsewhere.safetensors")
    for flags in ([], ["--voices", "voice1.wav"], ["--voices", voice.name]):
        error = refused(voiced, tmp_path, monkeypatch, capsys, *flags)
        assert f"{voice}: is a link to" in error


def test_links_inside_the_source_are_followed(source, tmp_path):
    (source / "store").mkdir()
    for path in [path for path in source.iterdir() if path.is_file()]:
        path.rename(source / "store" / path.name)
        path.symlink_to(Path("store") / path.name)
    (tmp_path / "link").symlink_to(source)
    assert run(tmp_path / "link", tmp_path / "new") == 0
    assert not any(path.is_symlink() for path in (tmp_path / "new").iterdir())
    dsm_mlx.load_stt(tmp_path / "new")


def test_a_folder_of_the_hubs_cache(source, tmp_path, capsys):
    """Its files are links to ../../blobs, and into another repository's they are not followed."""
    cache = tmp_path / "models--someone--some-model"
    snapshot = cache / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    for place in (cache / "blobs", snapshot, tmp_path / "models--other/blobs"):
        place.mkdir(parents=True)
    for number, path in enumerate(sorted(source.iterdir())):
        path.rename(cache / "blobs" / str(number))
        (snapshot / path.name).symlink_to(Path("../../blobs") / str(number))
    assert run(snapshot, tmp_path / "new") == 0
    dsm_mlx.load_stt(tmp_path / "new")
    assert run(snapshot, snapshot, "--overwrite") == 1
    assert "holds the source" in capsys.readouterr().err
    config = snapshot / "config.json"
    config.resolve().rename(tmp_path / "models--other/blobs/0")
    config.unlink()
    config.symlink_to(tmp_path / "models--other/blobs/0")
    assert run(snapshot, tmp_path / "newer") == 1
    assert "is a link to" in capsys.readouterr().err
