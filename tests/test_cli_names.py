"""Commands and the server where only ASCII can be shown, with names that not everything takes."""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import BUFFERED, CONVERT, SERVE, STT, TTS, run, start, wait_for

ENVIRONMENTS = [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "LANG": "C"}]
NAMES = [b"two\nlines", b'it\'s "%s" %n', "naïve 😀".encode(), b"\xff\xfe", b"n" * 246]


def odd(folder, name, suffix=""):
    """A path as the file system has it, or a skipped test where it cannot."""
    path = os.fsdecode(os.path.join(os.fsencode(folder), name + suffix.encode()))
    try:
        open(path, "wb").close()
    except OSError:  # macOS takes UTF-8 only
        pytest.skip("this file system does not take such a name")
    os.unlink(path)
    return path


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=" ".join)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_a_text_is_said_into_a_file_of_any_name(small, tmp_path, name, environment):
    path = odd(tmp_path, name, ".wav")
    status, out, err = run(
        TTS, "--model", small("tts-tiny"), "--seed", 1, "Hé one 😀", "--out", path,
        env=os.environ | environment,
    )  # fmt: skip
    assert (status, out) == (0, "") and "Traceback" not in err
    assert [os.path.join(tmp_path, name) for name in os.listdir(tmp_path)] == [path]
    with open(path, "rb") as file:
        assert soundfile.info(file).frames > 0
    # what is told of it is one line, whatever is in the name
    (told,) = (line for line in err.splitlines() if line.startswith("wrote "))
    assert told.isprintable()


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=" ".join)
@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_a_file_of_any_name_is_heard_with_a_model_of_any_name(small, tmp_path, name, environment):
    sound, model = odd(tmp_path, name, ".wav"), odd(tmp_path, name)
    pcm = 0.2 * np.random.default_rng(0).standard_normal(24_000)
    with open(sound, "wb") as file:
        soundfile.write(file, pcm, 24_000, format="WAV")
    os.symlink(small("stt-tiny"), model)
    env = os.environ | environment
    status, out, err = run(STT, "--model", model, sound, "--output-dir", tmp_path, env=env)
    assert (status, out) == (0, "") and "Traceback" not in err
    with open(model + ".txt", "rb") as file:
        assert file.read().strip()


def test_voices_and_new_models_of_any_name(small, tmp_path):
    model, made = odd(tmp_path, b"\xff\xfe"), odd(tmp_path, b"made \xff")
    shutil.copytree(small("tts-tiny"), model)
    voice = next(Path(model).glob("voice*.safetensors"))
    voice = voice.rename(voice.with_name(os.fsdecode(b"\xe9" + os.fsencode(voice.name))))
    status, _, err = run(CONVERT, model, made, "--dtype", "float16")
    assert status == 0 and "Traceback" not in err
    for folder in model, made:
        args = ["Hi", "--voice", voice, "--out", tmp_path / "a.wav"]
        status, _, err = run(TTS, "--model", folder, *args)
        assert status == 0 and "Traceback" not in err, err


def test_a_text_that_is_not_utf_8(small, tmp_path):
    """By an argument or a pipe: what can be said of it is said, or one line tells."""
    options = ["--model", small("tts-tiny"), "--out", tmp_path / "a.wav"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"} | BUFFERED
    command = [*map(os.fsencode, [*TTS, *options])]
    for args, given in ([b"caf\xe9 one"], b""), ([b"-"], b"caf\xe9 one\n"):
        done = subprocess.run(
            [*command, *args], input=given, capture_output=True, timeout=120, env=environment
        )
        assert done.returncode in (0, 1) and b"Traceback" not in done.stderr
        assert (tmp_path / "a.wav").exists() == (done.returncode == 0)
        assert done.returncode == 0 or done.stderr.count(b"\n") == 1


def asked(path, request="/v1/models"):
    """A server's answer at a socket of the file system; None where nobody accepts yet."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        try:
            client.connect(str(path))
        except OSError:
            return None
        client.sendall(
            f"GET {request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        while part := client.recv(65_536):
            answer += part
    return answer.partition(b"\r\n\r\n")


def served(tmp_path_factory, command, **options):
    """Start, ask, stop: what it answered, its exit status and what it wrote to stderr."""
    # not a test's own folder, whose name would be too long for a socket
    path = tmp_path_factory.mktemp("s") / "socket"
    process = start(*command, "--unix-socket", path, **options)
    try:
        wait_for(lambda: process.poll() is not None or asked(path))
        head, _, body = asked(path) or (b"", b"", b"")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert head.startswith(b"HTTP/1.1 200 ") and json.loads(body)["data"]
    return process.returncode, err


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_serves_without_any_stream(small, tmp_path_factory, shell):
    models = ["--stt", str(small("stt-tiny")), "--tts", str(small("tts-tiny"))]
    command = ["bash", "-c", f'exec "$@" {shell}', "bash", *SERVE, *models]
    status, err = served(tmp_path_factory, [command])
    assert status == 0 and b"Traceback" not in err


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:8]))
def test_a_server_of_a_model_of_any_name(small, tmp_path, tmp_path_factory, name):
    model = odd(tmp_path, name)
    os.symlink(small("stt-tiny"), model)
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    command = [SERVE, "--stt", model, "--tts", "none"]
    status, err = served(tmp_path_factory, command, env=environment)
    assert status == 0 and b"Traceback" not in err
    assert all(line.isascii() and line.isprintable() for line in err.decode().splitlines())
