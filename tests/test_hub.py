"""From a model's name to files: folders, short names, the hub's cache, and what is refused."""

import logging
import shutil
import threading
from pathlib import Path

import pytest

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import hub, network
from dsm_mlx.loading.checkpoint import Checkpoint


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and any download is a failure of the test."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    wanted = []

    def download(*_, **__):
        pytest.fail("the client must not be left to find out that there is no network")

    def ask(url):
        wanted.append(url.partition("huggingface.co/")[2])
        raise OSError("no network here\nsecond line")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(network, "_head", ask)
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
    assert wanted == ["someone/some-model/resolve/v3/config.json"]


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


# ---- names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "stt-1b", "./stt-1b"])
def test_a_folder_wins_over_a_short_name(checkpoint, tmp_path, monkeypatch, name):
    shutil.copytree(checkpoint("stt-tiny"), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert hub.locate(name, "stt") == hub.LocalFiles(Path(name))
    assert dsm_mlx.load_stt(name).name == str(Path(name))


def test_a_folder_with_a_codec_wins_where_a_codec_is_wanted(checkpoint, tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    assert not Checkpoint.find("tiny", None).codec_alone
    shutil.copy(next(checkpoint("stt-tiny").glob("mimi-*")), tmp_path / "tiny/mimi.safetensors")
    shutil.copy(checkpoint("stt-tiny") / "mimi_config.json", tmp_path / "tiny")
    assert Checkpoint.find("tiny", None).codec_alone
    assert dsm_mlx.load_codec("tiny").sample_rate == 24000
    assert hub.locate("tiny", "stt").bundled  # it holds no model


def test_a_folder_of_something_else_does_not_hide_a_short_name(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "stt-1b").write_text("notes")
    monkeypatch.chdir(tmp_path)
    assert hub.locate("tiny", "tts").bundled
    assert hub.locate("stt-1b", "stt").repository == hub.REPOSITORIES["stt-1b"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("stt-1B", "stt-1b"), ("sst-1b", "stt-1b"), ("Tiny", "tiny"), ("tts-0.75", "tts-0.75b")],
)
def test_a_misspelt_name_is_answered_with_the_near_one(name, meant):
    with pytest.raises(CheckpointError, match=f"did you mean '{meant}'"):
        hub.locate(name, "stt")


def test_a_misspelt_repository_too(cache, monkeypatch):
    def no_such(*_, **__):
        raise network.NoRepository("kyutai/stt-1b-en_fr-candel: no such repository")

    monkeypatch.setattr(network, "download", no_such)
    with pytest.raises(CheckpointError, match="did you mean 'kyutai/stt-1b-en_fr-candle'"):
        hub.locate("kyutai/stt-1b-en_fr-candel", "stt").get("config.json")


LONG = "n" * 5000


@pytest.mark.parametrize(
    "name", ["", LONG, f"{LONG}/{LONG}", f"/{LONG}/config.json", "a\0b", "a\nb", "~nobody-here/x y"]
)
def test_names_of_nothing(cache, name):
    with pytest.raises(CheckpointError) as error:
        dsm_mlx.load_stt(name)
    assert len(str(error.value)) < 350 and str(error.value).isprintable()


def test_file_names_of_nothing(cache, tmp_path):
    """As they may stand in a config."""
    for files in (hub.LocalFiles(tmp_path), hub.HubFiles("someone/some-model")):
        for name in (LONG, "a\0b", f"{LONG}/x", "\udcff"):
            with pytest.raises(CheckpointError) as error:
                files.get(name)
            assert len(str(error.value)) < 350 and str(error.value).isprintable()


@pytest.mark.parametrize("model", [5, b"tiny", ["tiny"], 1.5, True, {}])
def test_a_model_of_a_wrong_type(model):
    for load in (dsm_mlx.load_stt, dsm_mlx.load_tts, dsm_mlx.load_codec):
        with pytest.raises(TypeError, match=r"model is .* \(expected a folder, a name"):
            load(model)


@pytest.mark.parametrize("revision", [5, b"main", ["main"]])
def test_a_revision_of_a_wrong_type(revision):
    for model in ("tiny", "stt-1b"):
        with pytest.raises(TypeError, match="revision is"):
            dsm_mlx.load_stt(model, revision=revision)


@pytest.mark.parametrize("revision", ["", "../../main", "/etc", "a//b", "a\nb", LONG])
def test_a_revision_that_cannot_be_one(revision):
    with pytest.raises(ValueError, match="revision is") as error:
        dsm_mlx.load_stt("stt-1b", revision=revision)
    assert len(str(error.value)) < 200


# ---- the hub's client ------------------------------------------------------------------------


def test_a_hub_that_is_busy_is_left_to_its_client(monkeypatch, tmp_path):
    """It knows how long to wait before it asks again."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    def busy(*_, **__):
        raise HfHubHTTPError.__new__(HfHubHTTPError)

    monkeypatch.setattr(network, "_head", busy)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda _, file, **__: tmp_path / file)
    assert hub.HubFiles("a/b").get("config.json") == tmp_path / "config.json"


def test_an_answer_that_does_not_come_is_not_waited_for(cache, monkeypatch):

    never = threading.Event()
    monkeypatch.setattr(network, "_head", lambda _: never.wait(60))
    monkeypatch.setattr(network, "_PATIENCE", 0.2)
    with pytest.raises(network.Unreachable, match=r"no answer within 0\.2 s"):
        hub.HubFiles("a/b").get("config.json")
    never.set()


def test_the_client_is_quiet_while_it_is_asked_and_as_before_afterwards(cache, monkeypatch, caplog):

    names = ("huggingface_hub.utils._http", "httpx2", "httpx")
    before = [logging.getLogger(name).getEffectiveLevel() for name in names]

    def talk(*_, **__):
        for name in names:
            logging.getLogger(name).warning("Retrying in 8s [Retry 4/5].")
        raise OSError("no network here")

    monkeypatch.setattr(network, "_head", talk)
    with caplog.at_level(logging.WARNING), pytest.raises(CheckpointError):
        hub.HubFiles("a/b").get("config.json")
    assert "Retry" not in caplog.text
    assert [logging.getLogger(name).getEffectiveLevel() for name in names] == before
