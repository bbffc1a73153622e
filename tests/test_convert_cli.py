"""dsm-convert: every flag, bad input, and a folder that appears whole or not at all."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import golden as fixtures
import mlx.core as mx
import pytest

import dsm_mlx
from dsm_mlx.cli import convert as command
from dsm_mlx.convert import job, output
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import specs_of
from dsm_mlx.files import hub
from dsm_mlx.loading.checkpoint import Checkpoint

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source(checkpoint, tmp_path) -> Path:
    """A small model, to be damaged."""
    return shutil.copytree(checkpoint("stt-q64"), tmp_path / "source")


@pytest.fixture
def voiced(checkpoint, tmp_path) -> Path:
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


def test_as_a_program(source, tmp_path):
    """As whoever installed the package calls it: from a folder without anything of a checkout."""

    def program(*args):
        command = [sys.executable, "-m", "dsm_mlx.convert", *args]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    done = program(source, "new", "--recipe", "mixed-4")
    assert (done.returncode, done.stdout) == (0, "")
    shown = program("--inspect", "new")
    assert shown.returncode == 0 and "recipe          mixed-4" in shown.stdout
    missing = program("no", "x")
    assert missing.returncode == 1 and "Traceback" not in missing.stderr
    assert "usage: python -m dsm_mlx.convert " in program("--help").stdout


def test_from_a_checkout():
    tool = ROOT / "tools/convert.py"
    shown = subprocess.run([sys.executable, tool, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0 and f"usage: python {tool} " in shown.stdout


def test_as_a_console_script_it_has_that_name(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "__main__", None)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/dsm-convert"])
    with pytest.raises(SystemExit):
        run("--help")
    assert "usage: dsm-convert " in capsys.readouterr().out


def test_positionals_and_their_aliases(source, tmp_path):
    assert run(source, tmp_path / "a") == 0
    assert run("--hf-path", source, "--mlx-path", tmp_path / "b") == 0
    assert run(source / "config.json", "--mlx-path", tmp_path / "c") == 0
    assert left_over(tmp_path / "a") == left_over(tmp_path / "b") == left_over(tmp_path / "c")
    assert specs(tmp_path / "a") == set()


@pytest.mark.parametrize(
    "flags, expected, recipe",
    [
        ("-q", "4 bits, groups of 32", "q4"),
        ("--quantize --q-bits 2", "2 bits, groups of 32", "q2"),
        ("-q --q-bits 3", "3 bits, groups of 64", "q3"),
        ("-q --q-bits 6", "6 bits, groups of 64", "q6"),
        ("-q --q-bits 8", "8 bits, groups of 64", "q8"),
        ("-q --q-bits 8 --q-group-size 32", "8 bits, groups of 32", "q8-g32"),
        ("-q --q-mode affine --q-group-size 128", "4 bits, groups of 64", "q4-g128"),
        ("-q --q-mode mxfp4", "mxfp4, 4 bits, groups of 32", "mxfp4"),
        ("-q --q-mode mxfp8", "mxfp8, 8 bits, groups of 32", "mxfp8"),
        ("-q --q-mode nvfp4 --q-bits 4", "nvfp4, 4 bits, groups of 16", "nvfp4"),
    ],
)
def test_quantising_everything_alike(flags, expected, recipe, source, tmp_path):
    assert run(source, tmp_path / "new", *flags.split()) == 0
    assert specs(tmp_path / "new") == {expected}
    assert record(tmp_path / "new")["recipe"] == recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe(recipe, source, tmp_path):
    assert run(source, tmp_path / "new", "--recipe", recipe) == 0
    assert record(tmp_path / "new")["recipe"] == recipe
    wanted = {str(spec) for part, spec in RECIPES[recipe].table.items() if part in HAS_PARTS}
    assert specs(tmp_path / "new") == wanted
    dsm_mlx.load_stt(tmp_path / "new")


HAS_PARTS = ("embeddings", "heads", "first and last block", "attention", "feed-forward")


def test_dtype_layout_and_codec_flags(source, tmp_path):
    flags = "--dtype float16 --layout pytorch --codec-dtype float16 --codec-bits 4"
    assert run(source, tmp_path / "new", *flags.split()) == 0
    found = Source.find(tmp_path / "new")
    assert {info.dtype for info in found.lm.outline_lm().header.tensors.values()} == {"F16"}
    assert "emb.0.weight" in found.lm.outline_lm().header.tensors
    assert {str(s) for s in specs_of(found.codec.model).values()} == {"4 bits, groups of 32"}
    dtypes = {info.dtype for info in found.codec.header.tensors.values()}
    assert dtypes == {"F16", "U32", "F32"}  # F32: the codebooks' usage, which is 1
    assert record(tmp_path / "new")["layout"] == "pytorch"


def test_dequantize(source, tmp_path, capsys):
    assert run(source, tmp_path / "q", "-q", "--q-bits", 8) == 0
    assert run(tmp_path / "q", tmp_path / "again", "-q") == 1
    assert "is quantised already" in capsys.readouterr().err
    assert run(tmp_path / "q", tmp_path / "plain", "-d") == 0
    assert specs(tmp_path / "plain") == set()
    assert run(tmp_path / "q", tmp_path / "other", "--dequantize", "-q") == 0
    assert specs(tmp_path / "other") == {"4 bits, groups of 32"}
    assert run(tmp_path / "q", tmp_path / "moved", "--layout", "pytorch") == 0
    assert specs(tmp_path / "moved") == {"8 bits, groups of 64"}


def test_voices_are_taken_along_trimmed_and_folded_in(voiced, tmp_path, capsys):
    suffix = ".deadbeef@7.safetensors"
    assert run(voiced, tmp_path / "all") == 0
    assert dsm_mlx.load_tts(tmp_path / "all").voices() == [f"voice{i}.wav" for i in range(3)]
    assert run(voiced, tmp_path / "one", "--voices", "voice1.wav") == 0
    assert dsm_mlx.load_tts(tmp_path / "one").voices() == ["voice1.wav"]
    assert run(voiced, tmp_path / "none", "--voices") == 0
    assert dsm_mlx.load_tts(tmp_path / "none").voices() == []
    # A file from elsewhere, and back out of the new folder: the same bytes.
    other = shutil.copy(voiced / f"voice2.wav{suffix}", tmp_path / "friend.safetensors")
    assert run(tmp_path / "none", tmp_path / "new", "--voices", other) == 0
    assert dsm_mlx.load_tts(tmp_path / "new").voices() == ["friend"]
    assert run(tmp_path / "new", tmp_path / "back") == 0
    assert (tmp_path / "back" / f"friend{suffix}").read_bytes() == other.read_bytes()
    capsys.readouterr()
    assert run(voiced, tmp_path / "x", "--voices", "nobody") == 1
    assert "voice 'nobody'" in capsys.readouterr().err
    mx.save_safetensors(str(other), {"speaker_wavs": mx.zeros((1, 3, 4))})
    assert run(voiced, tmp_path / "x", "--voices", other) == 1
    assert "expected [1, 24, frames]" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_voices_of_a_listener_are_refused(source, tmp_path, capsys):
    assert run(source, tmp_path / "x", "--voices", "someone") == 1
    assert "has no voices" in capsys.readouterr().err


def test_an_existing_folder_stays_unless_overwritten(source, tmp_path, capsys):
    new = tmp_path / "new"
    assert run(source, new) == 0
    before = (new / "config.json").read_bytes()
    assert run(source, new, "-q") == 1
    assert "exists already" in capsys.readouterr().err
    assert (new / "config.json").read_bytes() == before
    (new / "mine.txt").write_text("of the old folder")
    assert run(source, new, "-q", "--overwrite") == 0
    assert specs(new) and not (new / "mine.txt").exists()
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
    assert (home / "letters.txt").read_text() == "dear"


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


def test_a_folder_that_cannot_be_made(source, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run(source, tmp_path / "file" / "new") == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "part, damage, message",
    [
        ("model", lambda p: p.write_bytes(p.read_bytes()[:-10]), "cut short"),
        ("model", lambda p: p.write_bytes(b"nonsense" * 9), "safetensors"),
        ("model", lambda p: p.unlink(), "has no file"),
        ("mimi", lambda p: p.unlink(), "has no file"),
        ("mimi", lambda p: mx.save_safetensors(str(p), {"x": mx.zeros(1)}), "missing"),
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


def test_values_too_large_for_float16(source, tmp_path, capsys):
    path = source / "model.safetensors"
    tensors = mx.load(str(path))
    tensors["text_linear.weight"] = tensors["text_linear.weight"] * 1e6
    mx.save_safetensors(str(path), tensors)
    assert run(source, tmp_path / "new", "--dtype", "float16") == 1
    assert "text_linear.weight: has values that float16 cannot hold" in capsys.readouterr().err
    assert run(source, tmp_path / "new", "--dtype", "bfloat16") == 0


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
@pytest.mark.parametrize("key", ["moshi_name", "mimi_name", "tokenizer_name", "mimi_config_name"])
def test_names_in_a_config_stay_inside_the_folder(key, name, source, tmp_path, capsys):
    fixtures.edit_json(source / "config.json", lambda c: c.update({key: name}))
    assert run(source, tmp_path / "new") == 1
    assert "is not the name of a file in its folder" in capsys.readouterr().err
    assert left_over(tmp_path) == {"source"}


def test_two_parts_of_one_name_are_refused(source, tmp_path, capsys):
    fixtures.edit_json(source / "config.json", lambda c: c.update(mimi_name="config.json"))
    assert run(source, tmp_path / "new") == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    "args",
    [
        "",
        "only-source",
        "a b c",
        "a b --hf-path c",
        "a b --mlx-path c",
        "a b -q --recipe q8",
        "a b --recipe unheard-of",
        "a b --q-bits 4",
        "a b --q-group-size 64",
        "a b --q-mode mxfp4",
        "a b -q --q-bits 5",
        "a b -q --q-group-size 48",
        "a b -q --q-mode mxfp4 --q-bits 8",
        "a b -q --q-mode nvfp4 --q-group-size 64",
        "a b --dtype int8",
        "a b --layout onnx",
        "a b --codec-bits 5",
        "a b --upload-repo nobody",
        "a --inspect b",
    ],
)
def test_usage_errors(args, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*args.split())
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["stt-tiny", "tts-tiny", "stt-q64-mlx-q8", "tiny"])
def test_inspect(name, checkpoint, capsys):
    assert run("--inspect", name if name == "tiny" else checkpoint(name)) == 0
    text = capsys.readouterr().out
    expected = {
        "stt-tiny": ["speech to text", "PyTorch layout", "quantised       no", "pause heads"],
        "tts-tiny": ["of which it writes 8", "sets of weights", "3 beside it: voice0.wav"],
        "stt-q64-mlx-q8": ["MLX layout", "attention: 8 bits, groups of 64"],
        "tiny": ["delay (lut): 0.16", "8 x 512, 12.5 frames a second", "6.5 M weights"],
    }[name]
    for part in [*expected, "problem         none: it is complete", "tokenizer"]:
        assert part in text


def test_inspect_says_what_is_missing(source, capsys):
    config = json.loads((source / "config.json").read_text())
    (source / config["mimi_name"]).unlink()
    (source / "model.safetensors").write_bytes(b"damaged")
    assert run("--inspect", source) == 0
    problems = [line for line in capsys.readouterr().out.splitlines() if "  problem" in line]
    assert len(problems) == 2
    assert "not a safetensors file" in problems[0] and config["mimi_name"] in problems[1]


def test_a_codec_alone(tmp_path, capsys):
    codec = fixtures.CHECKPOINTS / "mimi-tiny"
    assert run(codec, tmp_path / "x", "-q") == 1
    assert "a codec alone, which q4 leaves as it is" in capsys.readouterr().err
    assert run(codec, tmp_path / "new", "-q", "--codec-bits", 8) == 0
    assert {str(s) for s in specs_of(Source.find(tmp_path / "new").codec.model).values()} == {
        "8 bits, groups of 64"
    }


def test_inspect_a_codec_and_nothing(tmp_path, capsys):
    assert run("--inspect", fixtures.CHECKPOINTS / "mimi-tiny") == 0
    assert "a codec alone" in capsys.readouterr().out
    assert run("--inspect", tmp_path) == 1
    assert "holds neither config.json nor mimi.safetensors" in capsys.readouterr().err


def test_a_hub_repository_of_the_cache(source, tmp_path, monkeypatch):
    """Its name and commit are recorded; the cache's path is not."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "cache" / "snapshots" / commit
    shutil.copytree(source, snapshot)
    asked = []

    def get(files, name):
        asked.append(files.revision)
        return hub.LocalFiles(snapshot).get(name)

    monkeypatch.setattr(hub.HubFiles, "get", get)
    assert run("someone/some-model", tmp_path / "new", "--revision", "v2", "-q") == 0
    assert set(asked) == {"v2"}
    found = record(tmp_path / "new")
    assert (found["source"], found["revision"]) == ("someone/some-model", commit)
    assert str(tmp_path) not in (tmp_path / "new" / "config.json").read_text()


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


def test_upload(source, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    new = tmp_path / "new"
    assert run(source, new, "--upload-repo", "me/mine") == 0
    assert Hub.calls == [("create", "me/mine", True), ("upload", str(new), "me/mine")]
    assert "uploaded to https://huggingface.co/me/mine" in capsys.readouterr().err
    monkeypatch.setattr(Hub, "failure", RuntimeError("401 who are you\nmore"))
    assert run(source, new, "--overwrite", "--upload-repo", "me/mine") == 1
    error = capsys.readouterr().err
    assert (
        "me/mine: cannot be uploaded (401 who are you)" in error and (new / "config.json").exists()
    )
