"""What the tests of dsm-convert share."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from dsm_mlx.cli import convert as command
from dsm_mlx.convert import output
from dsm_mlx.convert.weights import specs_of
from dsm_mlx.loading.checkpoint import Checkpoint


@pytest.fixture
def source(checkpoint, tmp_path) -> Path:
    """A small model, to be damaged."""
    return shutil.copytree(checkpoint("stt-q64"), tmp_path / "source")


@pytest.fixture
def voiced(checkpoint, tmp_path) -> Path:
    """One that speaks, with voices beside it."""
    return shutil.copytree(checkpoint("tts-tiny"), tmp_path / "voiced")


def run(*args) -> int:
    return command.main([str(arg) for arg in args])


def specs(folder) -> set[str]:
    return {
        str(spec) for spec in specs_of(Checkpoint.find(folder, None).outline_lm().model).values()
    }


def record(folder) -> dict:
    return json.loads((folder / "config.json").read_text())["model_id"]["conversion"]


def left_over(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refused(source, tmp_path, monkeypatch, capsys, *flags) -> str:
    """The error of a conversion that is refused before anything is computed or copied."""
    for writes in ("copy", "write_safetensors"):
        monkeypatch.setattr(output, writes, lambda *_: pytest.fail("something was written"))
    before = left_over(tmp_path)
    assert run(source, tmp_path / "refused", *flags) == 1
    assert left_over(tmp_path) == before
    return capsys.readouterr().err


class Hub:
    """Stands for the hub's client."""

    calls: ClassVar[list] = []
    failure: ClassVar[Exception | None] = None

    def create_repo(self, name, exist_ok):
        if self.failure:
            raise self.failure
        self.calls.append(("create", name, exist_ok))
        return f"https://huggingface.co/{name}"

    def upload_folder(self, folder_path, repo_id):
        self.calls.append(("upload", folder_path, repo_id))
