"""From a model's name to files: folders, short names, the hub's cache, and what is refused."""

import logging
import shutil

import pytest

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import hub


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and any download is a failure of the test."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    real = huggingface_hub.hf_hub_download
    wanted = []

    def download(repository, file, **options):
        if not options.get("local_files_only"):
            wanted.append((repository, file, options.get("revision")))
            raise OSError("no network here\nsecond line")
        return real(repository, file, cache_dir=tmp_path, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return tmp_path, wanted


def put(cache, repository, folder, revision="main"):
    """Put a checkpoint into the cache as the hub's client lays it out."""
    root = cache / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(folder, root / "snapshots" / commit)
    (root / "refs").mkdir()
    (root / "refs" / revision).write_text(commit)


def test_a_cached_repository_needs_no_network(cache, checkpoint):
    folder, wanted = cache
    put(folder, "someone/some-model", checkpoint("stt-tiny"))
    assert dsm_mlx.load_stt("someone/some-model").name == "someone/some-model"
    assert wanted == []


def test_short_names_point_at_the_repository_that_can_do_most(cache, checkpoint):
    folder, wanted = cache
    put(folder, "kyutai/stt-1b-en_fr-candle", checkpoint("stt-tiny"))
    assert dsm_mlx.load_stt("stt-1b").pauses
    assert wanted == []


def test_a_revision_is_passed_on(cache, checkpoint):
    folder, wanted = cache
    put(folder, "someone/some-model", checkpoint("stt-tiny"), revision="v2")
    dsm_mlx.load_stt("someone/some-model", revision="v2")
    with pytest.raises(CheckpointError):
        dsm_mlx.load_stt("someone/some-model", revision="v3")
    assert wanted == [("someone/some-model", "config.json", "v3")]


def test_no_network_is_one_clear_line(cache):
    with pytest.raises(CheckpointError) as error:
        dsm_mlx.load_stt("stt-2.6b")
    assert "kyutai/stt-2.6b-en" in str(error.value) and "no network here" in str(error.value)
    assert "\n" not in str(error.value)


def test_none_takes_the_best_that_is_here_and_says_so(cache, checkpoint, caplog):
    folder, wanted = cache
    assert hub.locate(None, "stt").name == "tiny"
    put(folder, "kyutai/stt-2.6b-en", checkpoint("stt-tiny-26"))
    assert hub.locate(None, "stt").name == "kyutai/stt-2.6b-en"
    put(folder, "kyutai/stt-1b-en_fr-candle", checkpoint("stt-tiny"))
    with caplog.at_level(logging.INFO, "dsm_mlx"):
        assert hub.locate(None, "stt").name == "kyutai/stt-1b-en_fr-candle"
    assert "kyutai/stt-1b-en_fr-candle" in caplog.text
    assert wanted == []


@pytest.mark.parametrize("file", ["model.safetensors", "mimi-*.safetensors", "tokenizer*.model"])
def test_a_repository_without_one_of_its_files_is_not_here(cache, checkpoint, file):
    """As after a download that was broken off: taking it would begin to download."""
    folder, _ = cache
    put(folder, "kyutai/stt-2.6b-en", checkpoint("stt-tiny-26"))
    (missing,) = folder.glob(f"**/{file}")
    missing.unlink()
    assert hub.locate(None, "stt").name == "tiny"


def test_a_folder_or_its_config(checkpoint):
    folder = checkpoint("stt-tiny")
    assert hub.locate(folder, "stt") == hub.locate(folder / "config.json", "stt")


@pytest.mark.parametrize("file", ["/etc/passwd", "../x", "a/../../x", "C:\\x", "hf://a/b", ""])
def test_a_name_in_a_config_never_leaves_its_folder(file, tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="in its folder"):
        hub.LocalFiles(tmp_path).get(file)


@pytest.mark.parametrize("name", ["tinny", "a/b/c", "./nothing", "nothing/", "~/nothing-here"])
def test_an_unknown_name_lists_what_is_known(name):
    with pytest.raises(CheckpointError, match=r"tiny, stt-1b, stt-2\.6b, tts-1\.6b, tts-0\.75b"):
        hub.locate(name, "stt")


@pytest.mark.parametrize("name", ["model.safetensors", "mimi_config.json"])
def test_a_file_that_is_not_its_config(checkpoint, name):
    file = checkpoint("stt-tiny") / name
    with pytest.raises(CheckpointError, match=r"its config\.json"):
        hub.locate(file, "stt")
