"""The demos tell how they are used, and end in a line where a device or a file is missing."""

import ast
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import wait_for

DEMOS = sorted((Path(__file__).parents[1] / "demos").glob("*.py"))
LONG = str(Path(__file__).parents[1] / "demos/audio/snow.ogg")
# As `python demo.py ...` on a machine without sound devices and rare packages.
WITHOUT_DEVICES = """
import runpy, sys
for name in "sounddevice", "pipecat", "livekit":
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# It hears the recordings beside it.
NEEDS_NOTHING = ["transcribe"]
NEEDS = {"pipecat_echo": "pipecat", "livekit_agent": "livekit"}


def ran(demo, *arguments, folder):
    command = [sys.executable, "-c", WITHOUT_DEVICES, demo, *arguments]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100, cwd=folder
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert list(folder.iterdir()) == []
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(params=DEMOS, ids=lambda demo: demo.stem)
def demo(request):
    return request.param


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_says_what_it_does_and_what_to_type(demo, option, tmp_path):
    status, out, err = ran(demo, option, folder=tmp_path)
    assert (status, err) == (0, "")
    assert out.strip() == ast.get_docstring(ast.parse(demo.read_text()))
    assert f"python demos/{demo.name}" in out


@pytest.mark.thorough
def test_without_arguments_or_devices(demo, tmp_path):
    status, out, err = ran(demo, folder=tmp_path)
    if demo.stem in NEEDS_NOTHING:
        assert status == 0 and len(out.splitlines()) > 10
    elif demo.stem in NEEDS:
        assert (status, out) == (1, "") and err.count("\n") == 1
        assert err.startswith("error: ") and "pip install" in err and NEEDS[demo.stem] in err
    elif demo.stem == "codec":
        assert (status, out) == (2, "") and "python demos/codec.py" in err
    else:
        assert (status, out) == (1, "")
        assert err.startswith("error: PortAudio cannot be loaded") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "arguments"), [("transcribe", [LONG] * 9), ("codec", [LONG, "out.wav"])]
)
def test_ctrl_c_ends_it_in_silence(name, arguments, tmp_path):
    (demo,) = (path for path in DEMOS if path.stem == name)
    command = [sys.executable, demo, *arguments]
    with (
        open(tmp_path / "err", "w+") as err,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, cwd=tmp_path) as process,
    ):
        # It has begun: `tiny` is told of, or the file is being written.
        wait_for(lambda: (tmp_path / "err").stat().st_size or len(list(tmp_path.iterdir())) > 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "Traceback" not in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("captions", ["missing.wav"]),
        ("codec", ["missing.wav", "out.wav"]),
        ("speak_llm", ["missing/out.wav"]),
        ("transcribe", ["missing.wav"]),
    ],
)
def test_a_file_that_is_missing_is_named(name, arguments, tmp_path):
    (demo,) = (path for path in DEMOS if path.stem == name)
    status, out, err = ran(demo, *arguments, folder=tmp_path)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"error: {arguments[0]}: ")
