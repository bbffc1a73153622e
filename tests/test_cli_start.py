"""What commands say of themselves and of the model, and that the demos start anywhere."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile
from commands import CHAT, STT, TTS, run

import dsm_mlx
from dsm_mlx import audio
from dsm_mlx.audio.devices import Device
from dsm_mlx.cli import common

ROOT = Path(__file__).parents[1]
BUS = ROOT / "demos/audio/bus.wav"
COMMANDS = {"dsm-stt": STT, "dsm-tts": TTS, "dsm-chat": CHAT}

# As python -m runs a module, and what had been imported when it ended.
IMPORTED = """
import runpy, sys
module, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    print("imported", *{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    "module", ["dsm_mlx.stt", "dsm_mlx.tts", "dsm_mlx.chat", "dsm_mlx.desktop"]
)
@pytest.mark.parametrize("args", [["--help"], ["--version"], ["--nonsense"], []])
def test_help_and_usage_import_nothing_that_takes_a_while(module, args):
    if module == "dsm_mlx.desktop":  # which opens a window where nothing else is asked for
        args = args or ["--text-size", "0"]
    command = [sys.executable, "-c", IMPORTED, module, *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == (0 if args in (["--help"], ["--version"]) else 2)
    imported = set(done.stdout.rpartition("imported ")[2].split())
    assert "dsm_mlx" in imported
    slow = {"numpy", "mlx", "soundfile", "soxr", "sounddevice", "huggingface_hub", "tqdm"}
    assert not slow & imported


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_calls_itself_as_it_was_called(name, tmp_path):
    """As a console script, and by python -m; in the usage, the version and every example."""
    script = shutil.which(name, path=os.path.dirname(sys.executable))
    ways = {f"python -m dsm_mlx.{name.removeprefix('dsm-')}": COMMANDS[name]}
    if script:
        ways[name] = [script]
    for called, command in ways.items():
        assert run(command, "--version") == (0, f"{called} {dsm_mlx.__version__}\n", "")
        status, out, err = run(command, "--help")
        assert (status, err) == (0, "") and out.startswith(f"usage: {called} ")
        examples = out.partition("examples:\n")[2].splitlines()
        assert len(examples) >= 4 and all(f"{called} " in f"{line} " for line in examples)
        status, out, err = run(command)
        assert (status, out) == (2, "") and f"\n{called}: error: " in err


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_can_be_parsed(name, monkeypatch, tmp_path):
    """Those of the help, without what stands before and after a pipe."""
    import shlex
    from importlib import import_module

    arguments = {"dsm-stt": "transcribe", "dsm-tts": "speak", "dsm-chat": "chat"}[name]
    module = import_module(f"dsm_mlx.cli.{arguments}_args")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-one")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    shutil.copy(BUS, tmp_path / "recordings")
    monkeypatch.setattr(sys, "stdin", None)  # a terminal would be refused
    for line in module.EXAMPLES.splitlines():
        part = next(part for part in line.split(" | ") if "%(prog)s" in part)
        words = shlex.split(part.partition(">")[0] if "srt >" in part else part)
        assert module.parse(words[1:])


@pytest.mark.parametrize("command", COMMANDS.values())
def test_devices_are_listed_or_a_line_says_that_there_are_none(command):
    status, out, err = run(command, "--list-devices")
    assert (status == 0 and out) or err
    assert len((out + err).splitlines()) >= 1 and "Traceback" not in err


def test_the_list_of_devices(monkeypatch, capsys):
    found = [Device(0, "In", 2, 0, 48_000.0, True, False), Device(1, "A\nB", 0, 2, 44_100.0, 0, 1)]
    monkeypatch.setattr(audio, "list_devices", lambda: found)
    assert common.list_devices() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "  0  in 2  out 0  48000 Hz  In <- default input",
        "  1  in 0  out 2  44100 Hz  A\\nB <- default output",
    ]
    monkeypatch.setattr(audio, "list_devices", list)
    assert common.list_devices() == 0
    assert capsys.readouterr() == ("", "this machine has no sound devices\n")


def offline(folder):
    """An environment whose cache of the hub is empty."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}


@pytest.mark.alone  # a machine that is too busy for a live stream says so
def test_one_line_tells_which_model_was_chosen(tmp_path):
    """And where it was named, none but the warning of what the bundled one can."""
    out = tmp_path / "a.wav"
    for model in [], ["--model", "tiny"]:
        for command, *args in (STT, BUS), (TTS, "Hello", "--out", out, "--voice", "slt"):
            status, _, err = run(command, *model, *args, env=offline(tmp_path))
            lines = [line for line in err.splitlines() if not line.startswith("wrote ")]
            assert status == 0 and len(lines) == 1 and "`tiny`" in lines[0], err


@pytest.mark.parametrize(("wanted", "near"), [("stt-1B", "stt-1b"), ("tny", "tiny")])
def test_a_misspelt_model_is_told_in_one_line(wanted, near, tmp_path):
    status, out, err = run(STT, "--model", wanted, BUS, env=offline(tmp_path))
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith("error: ") and f"did you mean '{near}'" in err


def test_a_hub_that_does_not_answer_is_told_at_once_in_one_line(tmp_path):
    """And not after the tries of the hub's client, each of which it would tell of."""
    environment = offline(tmp_path) | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    for command, *args in (STT, BUS), (TTS, "Hi", "--out", tmp_path / "a.wav"):
        before = time.monotonic()
        status, out, err = run(command, "--model", "owner/name", *args, env=environment)
        assert (status, out, len(err.splitlines())) == (1, "", 1) and "tiny" in err
        assert time.monotonic() - before < 20  # the client alone takes 25


@pytest.mark.thorough
def test_the_words_of_a_voice_come_back(tmp_path):
    """The README's sentence, spoken by tiny's clearest voice, through the other command."""
    wav = tmp_path / "hello.wav"
    said = "Good morning, how are you?"
    how = "--model", "tiny", "--voice", "linda", "--seed", "1"
    assert run(TTS, said, *how, "--out", wav)[0] == 0
    status, out, _ = run(STT, "--model", "tiny", wav)
    assert status == 0 and out.split() == re.findall("[a-z]+", said.lower())


def demo(name, *args, cwd):
    command = [sys.executable, ROOT / f"demos/{name}.py", *args]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, cwd=cwd, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout, done.stderr


# A machine without sound devices, whatever this one has.
NO_DEVICES = """
try:
    import sounddevice
except OSError:  # there is not even PortAudio
    pass
else:
    sounddevice.query_devices = lambda *_: []
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["transcribe", "codec", "live", "speak", "chat"])
def test_demos_without_arguments_and_sound_devices(name, tmp_path, monkeypatch):
    """They do something sensible, or say in words what they need."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(NO_DEVICES)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    status, out, err = demo(name, cwd=tmp_path)
    assert "Traceback" not in err
    if name == "transcribe":
        assert status == 0 and "kitchen" in out and "snow" in out
    elif name == "codec":
        assert (status, out) == (2, "") and "python demos/codec.py" in err
    else:
        assert (status, out) == (1, "") and err.startswith("error: ")


def test_demos_say_what_is_wrong_with_a_file(tmp_path):
    for name, *args in ("transcribe", "missing.wav"), ("codec", "missing.wav", "out.wav"):
        status, out, err = demo(name, *args, cwd=tmp_path)
        assert (status, out) == (1, "") and err.splitlines()[
            -1
        ] == "error: missing.wav: no such file"
    assert os.listdir(tmp_path) == []


def test_the_codec_demo_writes_any_format(tmp_path):
    status, out, _ = demo("codec", BUS, "out.flac", cwd=tmp_path)
    assert status == 0 and "bits a second" in out
    assert abs(soundfile.info(tmp_path / "out.flac").duration - soundfile.info(BUS).duration) < 0.1


@pytest.mark.parametrize(
    ("module", "arguments", "meant"),
    [
        ("stt", ["a.wav", "--outptu-format", "srt"], "; did you mean '--output-format'?"),
        ("tts", ["Hi", "--voise=slt"], "; did you mean '--voice'?"),
        ("serve", ["--prot", "80"], "; did you mean '--port'?"),
        ("convert", ["tiny", "--nothing-like-it"], ""),
    ],
)
def test_a_misspelt_option_is_answered_with_the_one_that_is_near(module, arguments, meant):
    command = [sys.executable, "-m", f"dsm_mlx.{module}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    option = next(argument for argument in arguments if argument.startswith("--"))
    assert done.returncode == 2 and done.stdout == ""
    (line,) = (line for line in done.stderr.splitlines() if "error: " in line)
    assert f"unrecognized arguments: {option}" in line and line.endswith(meant or option)


def test_a_program_that_loads_tiny_again_and_again_is_told_of_it_once():
    program = "import dsm_mlx\nfor _ in range(3):\n    with dsm_mlx.load_stt('tiny'):\n        pass"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stderr.count("using the bundled model `tiny`") == 1
