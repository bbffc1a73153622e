"""Where dsm-convert writes: a folder that appears whole or not at all, and what it replaces."""

import errno
import os
import shutil
import signal
from pathlib import Path

import mlx.core as mx
import pytest
from converting import Hub, left_over, run, specs
from converting import source as source
from converting import voiced as voiced

from dsm_mlx.convert import folder, job, output
from dsm_mlx.loading.checkpoint import Checkpoint


def test_an_existing_folder_stays_unless_overwritten(source, tmp_path, capsys):
    new = tmp_path / "new"
    assert run(source, new) == 0
    before = (new / "config.json").read_bytes()
    assert run(source, new, "-q") == 1
    assert "exists already" in capsys.readouterr().err
    assert (new / "config.json").read_bytes() == before
    assert run(source, new, "-q", "--overwrite") == 0
    assert specs(new)
    assert left_over(tmp_path) == {"source", "new"}


def test_only_a_checkpoint_is_overwritten(source, tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    assert run(source, home, "--overwrite") == 0  # an empty folder
    shutil.rmtree(home)
    home.mkdir()
    (home / "letters.txt").write_text("dear")
    assert run(source, home, "--overwrite") == 1
    assert "is not the folder of a checkpoint" in capsys.readouterr().err
    assert run(source, home / "letters.txt", "--overwrite") == 1
    assert "is not a folder" in capsys.readouterr().err
    assert (home / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("name", ["source", "voiced"])
def test_a_checkpoint_is_not_overwritten_with_files_of_others(name, request, tmp_path, capsys):
    """Of a folder that a conversion wrote just its own files go, and a voice is one of them."""
    new = tmp_path / "new"
    assert run(request.getfixturevalue(name), new) == 0
    assert run(tmp_path / name, new, "--overwrite") == 0
    for mine in ("mine.txt", "my-voice.deadbeef@7.safetensors", "README.md"):
        (new / mine).write_text("of mine")
        before = left_over(new)
        assert run(tmp_path / name, new, "-q", "--overwrite") == 1
        assert f"holds {mine} beside a checkpoint" in capsys.readouterr().err
        assert left_over(new) == before and not specs(new)
        (new / mine).unlink()
    assert run(tmp_path / name, new, "-q", "--overwrite") == 0


@pytest.mark.parametrize("dest", ["source", "."])
def test_the_source_is_never_overwritten(dest, source, tmp_path, capsys):
    assert run(source, tmp_path / dest, "--overwrite") == 1
    assert "holds the source" in capsys.readouterr().err
    assert Checkpoint.find(source, "stt").load_lm()


class Stopped:
    """Stands for the last thing written; what happens then is up to the test."""

    def __init__(self, monkeypatch, happens):
        self.folder = None
        real = job._write_config

        def write(source, folder, *rest):
            self.folder = folder
            assert (folder / "model.safetensors").exists()
            happens()
            real(source, folder, *rest)

        monkeypatch.setattr(job, "_write_config", write)


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing(number, existing, source, tmp_path, monkeypatch, capsys):
    new = tmp_path / "new"
    if existing:
        assert run(source, new, "-q") == 0
    before = {path.name: path.read_bytes() for path in new.glob("*")}
    handler = signal.getsignal(number)
    stopped = Stopped(monkeypatch, lambda: os.kill(os.getpid(), number))
    assert run(source, new, "--overwrite") == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert signal.getsignal(number) == handler
    assert stopped.folder and not stopped.folder.exists()
    assert left_over(tmp_path) == ({"source", "new"} if existing else {"source"})
    assert {path.name: path.read_bytes() for path in new.glob("*")} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_last_instant(number, source, tmp_path, monkeypatch, capsys):
    """Too late for nothing to be written, and in time for nothing to be uploaded."""
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    real = folder.exchange

    def exchange(*names):
        os.kill(os.getpid(), number)
        return real(*names)

    monkeypatch.setattr(folder, "exchange", exchange)
    new, before = tmp_path / "new", list(Hub.calls)
    assert run(source, new) == 0
    assert run(source, new, "-q", "--overwrite", "--upload-repo", "me/mine") == 130
    assert f"interrupted; {new} is written and complete" in capsys.readouterr().err
    assert specs(new) and left_over(tmp_path) == {"source", "new"} and Hub.calls == before


def test_an_interrupted_upload(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "failure", KeyboardInterrupt())
    assert run(source, tmp_path / "new", "--upload-repo", "me/mine") == 130
    error = capsys.readouterr().err
    assert f"{tmp_path / 'new'} is written and complete, me/mine may not be" in error


def test_a_full_disk_is_said_in_advance(source, tmp_path, monkeypatch, capsys):
    usage = shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(output.shutil, "disk_usage", lambda _: usage)
    assert run(source, tmp_path / "new") == 1
    assert f"{tmp_path / 'new'}: the disk is full" in capsys.readouterr().err
    assert left_over(tmp_path) == {"source"}


def test_a_disk_that_becomes_full(source, tmp_path, monkeypatch, capsys):
    def full():
        raise OSError(errno.ENOSPC, "No space left on device")

    Stopped(monkeypatch, full)
    assert run(source, tmp_path / "new") == 1
    assert "the disk is full; nothing was written" in capsys.readouterr().err
    assert left_over(tmp_path) == {"source"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_writing_tensors_to_a_full_device(tmp_path):
    with pytest.raises(OSError, match="No space left"), pytest.MonkeyPatch.context() as patch:
        real = Path.open
        patch.setattr(Path, "open", lambda path, mode: real(Path("/dev/full"), "wb"))
        output.write_safetensors(tmp_path / "x", {"w": mx.zeros((1 << 16,))}, {})


def test_a_folder_that_appears_meanwhile(source, tmp_path, monkeypatch, capsys):
    new = tmp_path / "new"

    def appears():
        new.mkdir()
        (new / "letters.txt").write_text("dear")

    Stopped(monkeypatch, appears)
    assert run(source, new) == 1
    assert "new: exists already" in capsys.readouterr().err
    shutil.rmtree(new)
    assert run(source, new, "--overwrite") == 1
    assert "is not the folder of a checkpoint" in capsys.readouterr().err
    assert left_over(tmp_path) == {"source", "new"} and left_over(new) == {"letters.txt"}


def test_a_failed_run_leaves_no_parents(source, tmp_path):
    (source / "model.safetensors").write_bytes(b"damaged")
    assert run(source, tmp_path / "a/b/new") == 1
    assert left_over(tmp_path) == {"source"}


def test_a_folder_that_cannot_be_made(source, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(source, tmp_path / "file" / "new") == 1
    assert capsys.readouterr().err.startswith("error: ")
