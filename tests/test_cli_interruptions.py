"""Ctrl-C and other signals that ask to end: what is written, what is said, and how soon it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from commands import STT, TTS, ended, start, wait_for

LONG = b"and so it goes on and on " * 400


@pytest.fixture(scope="module")
def stt(small):
    return ["--model", small("stt-tiny")]


@pytest.fixture(scope="module")
def tts(small):
    return ["--model", small("tts-tiny"), "--seed", 1]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """One that is heard in a moment, and one that takes minutes."""
    folder = tmp_path_factory.mktemp("sounds")
    pcm = 0.2 * np.random.default_rng(0).standard_normal(24_000)
    soundfile.write(folder / "short.wav", pcm.astype(np.float32), 24_000)
    soundfile.write(folder / "long.flac", np.tile(pcm, 1200).astype(np.float32), 24_000)
    return folder


def interrupted_after_the_first_words(process, number=signal.SIGINT):
    """What came to stdout before, then status, stdout and stderr of the rest."""
    early = process.stdout.readline().decode()
    time.sleep(0.5)
    process.send_signal(number)
    return early, *ended(process)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_of_files_what_was_heard_is_shown_and_said_to_be_partial(stt, sounds, number):
    short, long = sounds / "short.wav", sounds / "long.flac"
    process = start(STT, *stt, short, long, short)
    early, status, late, err = interrupted_after_the_first_words(process, number)
    assert status == 130 and early.startswith(f"{short}: ")
    assert late.startswith(f"{long}: ") and late.count("\n") == 1
    last = err.splitlines()[-1]
    assert last.startswith("interrupted; heard only the first ") and str(long) in last
    assert last.endswith(f"nothing of {short}") and "Traceback" not in err


def test_of_files_nothing_half_is_written(stt, sounds, tmp_path):
    short, long = sounds / "short.wav", sounds / "long.flac"
    process = start(STT, *stt, short, long, "--output-dir", tmp_path, "--output-format", "srt")
    wait_for((tmp_path / "short.srt").exists)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == f"interrupted; not written: {long}"
    assert os.listdir(tmp_path) == ["short.srt"]


@pytest.mark.alone
def test_many_files_are_not_all_listed(stt, sounds, tmp_path):
    links = [tmp_path / f"{i:03}.flac" for i in range(100)]
    for link in links:
        link.symlink_to(sounds / "long.flac")
    process = start(STT, *stt, sounds / "short.wav", tmp_path)
    *_, err = interrupted_after_the_first_words(process)
    assert err.rstrip().endswith("and 96 more") and len(err.splitlines()[-1]) < 1000


# A model that takes a minute to bring out what was heard, as a large one on a slow machine does.
SLOW = """
import sys, time
from dsm_mlx.stt.stream import TranscriptStream
TranscriptStream.flush = lambda self: time.sleep(60)
from dsm_mlx.cli.transcribe import main
sys.exit(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_it_at_once(stt, number):
    process = start([sys.executable, "-c", SLOW], *stt, "-")
    process.stdin.write(noise(4))
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)  # `timeout` sends it twice, to the process and its group
    time.sleep(0.6)
    assert process.poll() is None
    before = time.monotonic()
    process.send_signal(number)
    assert process.wait(20) == 130 and time.monotonic() - before < 5
    assert process.stderr.read().endswith(b"interrupted\n")


def noise(seconds):
    rng = np.random.default_rng(0)
    return (6000 * rng.standard_normal(seconds * 24_000)).astype("<i2").tobytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_pipe_of_sound_ends_normally_with_what_was_heard(stt, tmp_path, number):
    for options in ([], ["--output-dir", tmp_path, "--output-format", "json"]):
        process = start(STT, *stt, "-", *options)
        process.stdin.write(noise(4))  # more than a pipe holds: then it is being heard
        process.stdin.flush()
        time.sleep(0.3)
        process.send_signal(number)
        status, out, err = ended(process)
        assert status == 0 and "Traceback" not in err and bool(out) == (not options)
    data = json.loads((tmp_path / "live.json").read_text())
    assert data["words"] and 0 < data["duration"] <= 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_text_is_spoken_whole_or_not_written(tts, tmp_path, number):
    wav, words = tmp_path / "a.wav", tmp_path / "a.json"
    process = start(TTS, *tts, LONG.decode(), "--out", wav, "--words", words)
    wait_for(lambda: any(file.stat().st_size > 40_000 for file in tmp_path.glob(".*.tmp")))
    process.send_signal(number)
    status, out, err = ended(process)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == f"interrupted; not written: {wav}, {words}"
    assert os.listdir(tmp_path) == []


def test_a_pipe_of_text_ends_normally_with_what_was_said(tts, tmp_path):
    wav, words = tmp_path / "a.wav", tmp_path / "a.json"
    process = start(TTS, *tts, "-", "--out", wav, "--words", words)
    process.stdin.write(LONG)
    process.stdin.flush()
    wait_for(lambda: any(file.stat().st_size > 40_000 for file in tmp_path.glob(".*.tmp")))
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    info = soundfile.info(wav)
    assert status == 0 and "Traceback" not in err and info.frames > 15_000
    assert f"wrote {wav} ({info.duration:.2f} s)" in err
    assert json.loads(words.read_text())[0]["text"] == "and"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.wav"]


def test_a_pipe_of_text_that_has_not_come_is_interrupted(tts, tmp_path):
    process = start(TTS, *tts, "-", "--out", tmp_path / "a.wav")
    wait_for(lambda: any(tmp_path.glob(".*.tmp")))
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert status == 130 and err.splitlines()[-1].startswith("interrupted")
    assert os.listdir(tmp_path) == []


# As a console script starts a command, and a signal in the moment when a module is imported.
STARTING = """
import os, signal, sys
module, command, number, *sys.argv = sys.argv[1:]
class Interrupting:
    def find_spec(self, name, *_):
        if name == module:
            try:
                os.kill(os.getpid(), int(number))
            except KeyboardInterrupt:  # as extension modules do it
                raise ImportError("initialization failed") from None
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
from importlib import import_module
main = import_module("dsm_mlx.cli." + command).main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("transcribe", "argparse"),
        ("transcribe", "dsm_mlx.cli.transcribe_args"),
        ("transcribe", "dsm_mlx.cli.transcription"),
        ("transcribe", "numpy"),
        ("transcribe", "mlx.core"),
        ("transcribe", "soundfile"),
        ("speak", "argparse"),
        ("speak", "dsm_mlx.cli.speech"),
        ("speak", "mlx.core"),
        ("speak", "sentencepiece"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_it_starts(command, module, number, sounds, tmp_path):
    """Also where what is being imported makes another error of a KeyboardInterrupt."""
    args = [sounds / "long.flac"] if command == "transcribe" else ["Hi", "--out", "a.wav"]
    program = [sys.executable, "-c", STARTING, module, command, str(int(number)), "dsm"]
    done = subprocess.run(
        [*program, "--model", "tiny", *args], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("interrupted")
    assert os.listdir(tmp_path) == []


# The moment after the work, when Python is about to end, and in one of its last actions.
ENDING = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from dsm_mlx.cli.transcribe import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.exit(main())
"""


def test_when_it_is_about_to_end(stt, sounds):
    """A signal ends it, and Python writes nothing about an exception that it ignored."""
    done = subprocess.run(
        [sys.executable, "-c", ENDING, *map(str, stt), str(sounds / "short.wav")],
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == -signal.SIGINT and done.stdout and done.stderr == b""


# A caller's own handlers, after a command that was called as a function.
CALLED = """
import signal, sys
def own(*_): pass
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, own)
from dsm_mlx.cli.transcribe import main
assert main(sys.argv[1:]) == 0
assert {signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} == {own}
assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
"""


def test_handlers_are_as_before_where_it_is_called(stt, sounds):
    args = [*map(str, stt), str(sounds / "short.wav")]
    assert subprocess.run([sys.executable, "-c", CALLED, *args], timeout=60).returncode == 0


def test_what_the_process_ignores_stays_ignored(stt, sounds, tmp_path):
    """As a shell starts what runs in the background, and nohup."""
    process = start(
        ["bash", "-c", 'trap "" INT HUP; exec "$@"', "bash", *STT],
        *stt,
        sounds / "long.flac",
        "--output-dir",
        tmp_path,
    )
    time.sleep(2)
    for number in (signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 130
