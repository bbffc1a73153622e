"""The client in Swift, built from its sources, with a real server. Skipped without a toolchain."""

import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest
from serving import Served

from dsm_mlx.audio import read, to_s16le

PACKAGE = Path(__file__).parents[1] / "demos/swift"
BUS = Path(__file__).parents[1] / "demos/audio/bus.wav"
SAID = "the bus was late because the road was full of snow\n"

pytestmark = pytest.mark.skipif(not shutil.which("swift"), reason="swift is not installed")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Runs the program: its exit status, stdout and stderr."""
    scratch = tmp_path_factory.mktemp("swift")
    where = "--package-path", PACKAGE, "--scratch-path", scratch
    built = subprocess.run(["swift", "build", *where], capture_output=True, text=True, timeout=900)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning:" not in built.stdout

    def run(*args, sound=b""):
        command = ["swift", "run", *where, "--skip-build", "dsm-transcribe", *map(str, args)]
        done = subprocess.run(command, capture_output=True, input=sound, timeout=120)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return run


@pytest.fixture(scope="module", params=["http", "unix"])
def server(request, tmp_path_factory):
    """Its address. Both models are tiny."""
    where = ["--port", "0"]
    if request.param == "unix":
        where = ["--unix-socket", str(tmp_path_factory.mktemp("s") / "s")]
    command = ["-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", *where]
    with Served(*command) as served:
        yield f"unix:{where[1]}" if request.param == "unix" else f"http://127.0.0.1:{served.port}"


def test_the_words_of_a_file(client, server):
    assert client("--server", server, BUS) == (0, SAID, "")


def test_the_words_of_a_long_file(client, server, tmp_path):
    """Of more than a socket holds."""
    pcm = np.concatenate([read(BUS)] * 4)
    with wave.open(str(tmp_path / "long.wav"), "wb") as file:
        file.setparams((1, 2, 24_000, 0, "NONE", ""))
        file.writeframes(to_s16le(pcm))
    status, out, err = client("--server", server, tmp_path / "long.wav")
    assert (status, err) == (0, "") and out.split().count("bus") >= 3


def test_a_text_as_speech(client, server, tmp_path):
    out = tmp_path / "hello.wav"
    assert client("--server", server, "--say", "Good morning.", out) == (0, "", "")
    assert len(read(out)) > 12_000


def test_live_sound(client, server):
    sound = to_s16le(read(BUS))
    status, out, err = client("--server", server, "--live", sound=sound)
    if server.startswith("unix:"):
        assert (status, out) == (1, "") and "of a socket in the file system" in err
    else:
        assert (status, out, err) == (0, SAID, "")


def test_what_is_refused_is_told(client, server, tmp_path):
    (tmp_path / "none.mp3").write_text("nothing\n")
    status, out, err = client("--server", server, tmp_path / "none.mp3")
    assert (status, out) == (1, "") and "the server answered 400: file: " in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "args, status, told",
    [
        (["--server", "http://127.0.0.1:1", BUS], 1, "no connection: "),
        (["--server", "unix:/nowhere/s", BUS], 1, "no connection: /nowhere/s: No such file"),
        (["--server", "ftp://host", BUS], 1, "address is ftp://host (expected http://HOST:PORT"),
        ([], 2, "expected "),
    ],
)
def test_who_cannot_be_reached_is_told(client, args, status, told):
    found, out, err = client(*args)
    assert (found, out) == (status, "") and err.startswith(f"error: {told}")
