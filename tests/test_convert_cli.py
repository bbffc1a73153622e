"""dsm-convert: every flag, and what it says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import golden as fixtures
import mlx.core as mx
import pytest
from converting import Hub, left_over, record, run, specs
from converting import source as source
from converting import voiced as voiced

import dsm_mlx
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import specs_of
from dsm_mlx.files import hub

ROOT = Path(__file__).parents[1]


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


# As a console script starts the command, and Ctrl-C in the moment when a module is imported.
INTERRUPTED_START = """
import os, signal, sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:  # as extension modules do it
                raise ImportError("initialization failed") from None
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from dsm_mlx.cli.convert import main
sys.exit(main(["nowhere", "new"]))
"""


@pytest.mark.parametrize(
    "module",
    ["mlx.core", "numpy", "mlx.nn.layers", "dsm_mlx.convert.job", "dsm_mlx.cli.conversion"],
)
def test_ctrl_c_while_it_starts(module, tmp_path):
    command = [sys.executable, "-c", INTERRUPTED_START, module]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_what_starts_the_command_imports_nothing_slow():
    code = "import dsm_mlx.cli.convert, sys; print({'mlx', 'numpy', 'argparse'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_values_too_large_for_float16(source, tmp_path, capsys):
    path = source / "model.safetensors"
    tensors = mx.load(str(path))
    tensors["text_linear.weight"] = tensors["text_linear.weight"] * 1e6
    mx.save_safetensors(str(path), tensors)
    assert run(source, tmp_path / "new", "--dtype", "float16") == 1
    assert "text_linear.weight: has values that are not finite, or that float16 cannot hold" in (
        capsys.readouterr().err
    )
    assert run(source, tmp_path / "new", "--dtype", "bfloat16") == 0


@pytest.mark.parametrize("flags", [[], ["--dtype", "float32"]])
def test_weights_that_are_not_finite(flags, source, tmp_path, capsys):
    """Which loading would refuse."""
    path = source / "model.safetensors"
    tensors = mx.load(str(path))
    tensors["text_linear.weight"][3, 5] = float("nan")
    mx.save_safetensors(str(path), tensors)
    assert run(source, tmp_path / "new", *flags) == 1
    error = capsys.readouterr().err
    assert "text_linear" in error and "has values that are not finite" in error
    assert left_over(tmp_path) == {"source"}


@pytest.mark.thorough
def test_tinys_speaking_half(tmp_path, capsys):
    new = tmp_path / "new"
    assert run("tiny", new, "--kind", "tts", "--layout", "pytorch", "--voices", "slt") == 0
    tts = dsm_mlx.load_tts(new)
    assert tts.voices() == ["slt"] and record(new)["layout"] == "pytorch"
    assert tts.synthesize("Good morning.", seed=0).words
    capsys.readouterr()
    assert run("--inspect", "tiny", "--kind", "tts") == 0
    assert "text to speech" in capsys.readouterr().out
    assert run("tiny", new, "--overwrite") == 0 and dsm_mlx.load_stt(new)


def test_a_kind_that_it_is_not(source, tmp_path, capsys):
    assert run(source, tmp_path / "new", "--kind", "tts") == 1
    assert "expected 'tts'" in capsys.readouterr().err


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


INSPECTED = [
    *("stt-tiny", "tts-tiny", "stt-q64-mlx-q8", "tiny", "stt-tiny-shared", "tts-tiny-partial"),
    "tts-tiny-two",
]


@pytest.mark.parametrize("name", INSPECTED)
def test_inspect(name, checkpoint, capsys):
    assert run("--inspect", name if name == "tiny" else checkpoint(name)) == 0
    text = capsys.readouterr().out
    expected = {
        "stt-tiny": ["speech to text", "PyTorch layout", "quantised       no", "pause heads"],
        "tts-tiny": ["of which it writes 8", "sets of weights", "3 beside it: voice0.wav"],
        "stt-q64-mlx-q8": ["MLX layout", "attention: 8 bits, groups of 64"],
        "stt-tiny-shared": ["4 heads that share 2 of keys and values, feed-forward"],
        "tts-tiny-partial": ["8 x audio 64, of which it writes 6"],
        "tts-tiny-two": ["16 x audio 64, of which it writes 16, of 2 voices"],
        "tiny": ["delay (lut): 0.16", "8 x 512, 12.5 frames a second", "6.5 M weights"],
    }[name]
    for part in [*expected, "problem         none: it is complete", "tokenizer"]:
        assert part in text


def test_inspect_what_is_added_left_out_and_of_another_layout(tmp_path, capsys):
    source = fixtures.assemble("stt-tiny", tmp_path / "source")
    lora = fixtures.CHECKPOINTS / "lora-stt-tiny/lora.safetensors"
    weights = source / "model.safetensors"
    tensors = mx.load(str(weights)) | {"vad.weight": mx.zeros(3)}
    mx.eval(tensors)
    mx.save_safetensors(str(weights), tensors)
    assert run("--inspect", source, "--lora", lora) == 0
    text = capsys.readouterr().out
    assert "LoRA            lora.safetensors, fused into 17 of 17 tensors, scaling 1.5" in text
    assert "unknown         vad.weight (left out)" in text and "none: it is complete" in text
    assert run("--inspect", fixtures.CHECKPOINTS / "stt-trfs") == 0
    text = capsys.readouterr().out
    assert text.count("Transformers layout") == 2 and "tokenizer.json, 96 pieces" in text
    assert run("--inspect", fixtures.CHECKPOINTS / "mimi-trfs") == 0
    assert "a codec alone" in capsys.readouterr().out


def test_inspect_without_a_recipe(source, tmp_path, capsys):
    assert run(source, tmp_path / "new") == 0
    assert run("--inspect", tmp_path / "new") == 0
    text = capsys.readouterr().out
    assert "converted from" in text and "recipe" not in text and "None" not in text


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
