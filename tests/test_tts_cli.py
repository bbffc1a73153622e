"""The command, mostly in a process of its own: what it writes, where, and how it ends."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import ClassVar

import numpy as np
import pytest
import soundfile

import dsm_mlx
from dsm_mlx import AudioError
from dsm_mlx.cli import arguments, speak_args, speech, voices
from dsm_mlx.cli.speak import main

COMMAND = [sys.executable, "-m", "dsm_mlx.tts"]
LONG = b"and so it goes on and on " * 400


@pytest.fixture(scope="module")
def model(checkpoint):
    return str(checkpoint("tts-tiny"))


def run(*args, stdin=b"", **options):
    command = [*COMMAND, *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, **options)
    return done.returncode, done.stdout, done.stderr.decode()


def start(*args, **options):
    command = [*COMMAND, *map(str, args)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, **pipes | options)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_file_and_its_words(model, tmp_path):
    wav, words = tmp_path / "a.wav", tmp_path / "a.json"
    status, out, err = run(
        "--model", model, "Hello", "there", "--out", wav, "--words", words, "--seed", 1
    )
    assert (status, out) == (0, b"") and "Traceback" not in err
    pcm, rate = soundfile.read(wav)
    assert rate == 24_000 and np.abs(pcm).max() > 0
    entries = json.loads(words.read_text())
    assert [entry["text"] for entry in entries] == ["Hello", "there"]
    assert 0 < entries[0]["start"] < entries[0]["end"] <= entries[1]["start"]
    assert sorted(os.listdir(tmp_path)) == ["a.json", "a.wav"]


def test_raw_sound_is_that_of_the_file_and_a_pipe_that_of_the_text(model, tmp_path):
    wav = tmp_path / "a.wav"
    run("--model", model, "Hello there, friend", "--out", wav, "--seed", 1)
    text = b"Hello there, friend"
    status, out, _ = run("--model", model, "-", "--out", "-", "--seed", 1, stdin=text)
    assert status == 0
    pcm, _ = soundfile.read(wav, dtype="int16")
    np.testing.assert_array_equal(np.frombuffer(out, "<i2"), pcm)


def test_sound_comes_while_the_text_is_still_written(model):
    process = start("--model", model, "-", "--out", "-", "--seed", "1")
    process.stdin.write(b"one two three four five six seven eight nine ten ")
    process.stdin.flush()
    assert len(process.stdout.read(3840)) == 3840
    rest, _ = process.communicate(b"eleven.")
    assert process.returncode == 0 and len(rest) > 3840


def test_a_closed_pipe_ends_it_quietly(model):
    process = start("--model", model, "-", "--out", "-")
    threading.Thread(target=feed, args=(process,), daemon=True).start()
    assert len(process.stdout.read(4000)) == 4000
    process.stdout.close()
    assert process.wait(60) == 1
    assert process.stderr.read() == b""


def feed(process):
    """Write a long text and leave the pipe open."""
    try:
        process.stdin.write(LONG)
        process.stdin.flush()
    except OSError:
        pass


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.OGG"])
def test_formats_by_suffix(model, tmp_path, name):
    wav, other = tmp_path / "a.wav", tmp_path / name
    for path in (wav, other):
        status, out, err = run("--model", model, "Hello there", "--out", path, "--seed", 1)
        assert (status, out) == (0, b"")
        assert f"wrote {path} ({soundfile.info(wav).duration:.2f} s)" in err
    info = soundfile.info(other)
    assert name.upper().endswith(info.format) and info.samplerate == 24_000
    assert abs(info.duration - soundfile.info(wav).duration) < 0.2  # mp3 pads


@pytest.mark.parametrize("text", ["", " ", "🙂"])
def test_nothing_to_say_is_an_error_and_no_file(model, tmp_path, text):
    """Given as an argument or through a pipe."""
    args = ["--model", model, "--out", tmp_path / "a.wav", "--words", tmp_path / "a.json"]
    for given, stdin in (text, b""), ("-", text.encode()):
        status, out, err = run(given, *args, stdin=stdin)
        assert (status, out) == (1, b"") and err.startswith("error: ")
        assert "nothing of it can be said" in err and len(err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("given", ["text", "pipe"])
def test_a_tag_is_left_out_with_a_warning_and_the_rest_is_said(model, tmp_path, given):
    text, words = 'one <b>two</b> <b>three</b> <break time="1s"', tmp_path / "a.json"
    args = ["--model", model, "--out", tmp_path / "a.wav", "--words", words]
    first, stdin = (text, b"") if given == "text" else ("-", text.encode())
    status, _, err = run(first, *args, stdin=stdin)
    assert status == 0 and [w["text"] for w in json.loads(words.read_text())] == [
        "one",
        "two",
        "three",
    ]
    warnings = [line for line in err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 2  # one of the tags, one of the break that is not closed
    assert "<b>" in warnings[0] and "</b>" in warnings[0] and "not closed" in warnings[1]


def test_a_pipe_that_is_not_utf8_is_told_of_once(model, tmp_path):
    args = ["--model", model, "-", "--out", tmp_path / "a.wav"]
    status, _, err = run(*args, stdin="Grüße, schöne".encode("latin-1"))
    assert status == 0 and err.count("warning: stdin is no text in UTF-8") == 1
    status, _, err = run(*args, stdin="Grüße, schöne".encode())
    assert status == 0 and "UTF-8" not in err


def test_without_a_loudspeaker_a_file_is_proposed(model, tmp_path, monkeypatch, capsys):
    def missing(device):
        raise AudioError("there is none")

    monkeypatch.setattr(speech, "Speaker", missing)
    assert main(["--model", model, "Hi"]) == 1
    assert capsys.readouterr().err == "error: there is none; --out FILE writes to a file instead\n"
    assert main(["--model", model, "Hi", "--play", "--out", str(tmp_path / "a.wav")]) == 1
    assert capsys.readouterr().err == "error: there is none\n"


def test_the_name_of_a_file_in_the_place_of_a_text(model, tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("Hello")
    out = ["--model", model, "--seed", "1", "--out", str(tmp_path / "a.wav")]
    for texts, told in (([str(tmp_path / "notes.txt")], 1), (["notes.txt"], 0), (["Hi", "you"], 0)):
        assert main([*out, *texts]) == 0
        assert capsys.readouterr().err.count("--text-file") == told


def test_names_of_voices(model):
    status, out, _ = run("--model", model, "--list-voices")
    assert (status, out.decode().split()) == (0, ["voice0.wav", "voice1.wav", "voice2.wav"])


def test_a_text_from_a_file(model, tmp_path):
    """Also one that says that it is UTF-8."""
    wav, file, words = (tmp_path / name for name in ("a.wav", "text.txt", "a.json"))
    for mark in (b"", b"\xef\xbb\xbf"):
        file.write_bytes(mark + b"Hello there,\r\n\tfriend\n")
        args = ["--model", model, "--text-file", file, "--out", wav, "--words", words]
        status, out, err = run(*args)
        assert (status, out) == (0, b"") and f"wrote {wav}" in err
        entries = json.loads(words.read_text())
        assert [entry["text"] for entry in entries] == ["Hello", "there,", "friend"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (None, "text.txt: No such file"),
        ("Grüße".encode("latin-1"), "text.txt: no text in UTF-8 (byte 2 is 0xfc)"),
        ("Hello".encode("utf-16"), "text.txt: no text in UTF-8 (byte 0 is 0xff)"),
        (b"-", "text.txt: nothing of it can be said"),  # and stdin is not read
        (b" \n", "text.txt: nothing of it can be said"),
    ],
)
def test_a_text_file_that_cannot_be_said(model, tmp_path, capsys, data, told):
    file = tmp_path / "text.txt"
    if data is not None:
        file.write_bytes(data)
    out = tmp_path / "a.wav"
    assert main(["--model", model, "--text-file", str(file), "--out", str(out)]) == 1
    assert told in capsys.readouterr().err and not out.exists()


def test_a_text_that_is_cut_short_is_not_all_done(model, tmp_path, capsys, caplog):
    wav, words = tmp_path / "a.wav", tmp_path / "a.json"
    args = ["--model", model, "Hello there, my friend", "--seed", "1", "--out", str(wav)]
    assert main([*args, "--words", str(words), "--max-seconds", "0.5"]) == 1
    pcm, _ = soundfile.read(wav)
    assert len(pcm) == 6 * 1920 and pcm[-1] == 0
    assert all(word["end"] <= 0.48 for word in json.loads(words.read_text()))
    assert "(0.48 s)" in capsys.readouterr().err
    assert [r.getMessage() for r in caplog.records if "only the first 0.48 s" in r.getMessage()]
    assert main([*args, "--max-seconds", "60"]) == 0


@pytest.mark.thorough
def test_a_pace(model, tmp_path):
    wav = tmp_path / "a.wav"
    args = ["--model", model, "Hello there, my friend", "--seed", "1", "--out", str(wav)]
    with dsm_mlx.load_tts(model) as tts:
        for pace in (0.5, 1.5):
            assert main([*args, "--pace", str(pace)]) == 0
            said = tts.synthesize("Hello there, my friend", seed=1, pace=pace)
            pcm, _ = soundfile.read(wav, dtype="float32")
            np.testing.assert_allclose(pcm, said.audio, atol=1e-4)


@pytest.mark.parametrize("program", ["dsm-tts", "python -m dsm_mlx.tts"])
def test_help_fits_on_two_screens(program, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(arguments, "program_name", lambda: program)
    lines = speak_args.parser().format_help().splitlines()
    assert len(lines) <= 48
    assert all(len(line) <= 80 for line in lines if program == "dsm-tts")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["hi", "--voice", "nobody"], "nobody"),
        (["hi", "--voice", "Voice1.wav"], "did you mean 'voice1.wav'"),
        (["hi", "--cfg", "2.2"], "cfg is 2.2"),
        (["hi", "--codebooks", "99"], "expected 1 to 8"),
    ],
)
def test_what_cannot_be_done_leaves_nothing_behind(
    model, tmp_path, args, message, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["--model", model, *args, "--out", "a.wav", "--words", "a.json"]) == 1
    assert message in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(model, tmp_path, capsys):
    for option in ("--out", "--words"):
        path = str(tmp_path / "missing/a.wav")
        assert main(["--model", model, "hi", "--out", str(tmp_path / "a.wav"), option, path]) == 1
        assert "missing" in capsys.readouterr().err


def test_a_wrong_voice_is_told_before_the_model_is_loaded(model, capsys, monkeypatch, tmp_path):
    """In one line, and without the paths of files that nobody has heard of."""
    monkeypatch.setattr(dsm_mlx, "load_tts", None)
    assert main(["--model", model, "hi", "--voice", "voice9.wav", "--out", "a.wav"]) == 1
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and "voice9.wav" in err and ".safetensors" not in err


def test_words_that_cannot_be_written_are_told_before_anything_is_said(model, tmp_path, capsys):
    words = tmp_path / "words.json"
    words.mkdir()
    args = ["--model", model, "Hi", "--out", str(tmp_path / "a.wav"), "--words", str(words)]
    assert main(args) == 1
    assert str(words) in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["words.json"]


def test_bytes_that_are_not_text(model):
    status, out, err = run("--model", model, "-", "--out", "-", stdin=b"Hi \xff\xfe there \xf0\x9f")
    assert status == 0 and out and "Traceback" not in err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["-", "text"],
        ["hi", "--out", "a.mp4"],
        ["hi", "--seed", "-1"],
        ["hi", "--temperature", "-0.1"],
        ["hi", "--temperature", "nan"],
        ["hi", "--bits", "3"],
        ["hi", "--nonsense"],
        ["hi", "--out", "a.wav", "--words", "./a.wav"],
        ["hi", "--pace", "0.4"],
        ["hi", "--pace", "fast"],
        ["hi", "--max-seconds", "0"],
        ["hi", "--text-file", "a.txt"],
        ["-", "--text-file", "a.txt"],
        ["--list-voices", "--out", "a.wav"],
        ["--list-voices", "--play", "-"],
    ],
)
def test_usage(args, capsys):
    with pytest.raises(SystemExit) as error:
        main(args)
    assert error.value.code == 2 and "usage" in capsys.readouterr().err


class FakeSpeaker:
    """Takes sound and says what was done with it."""

    instances: ClassVar[list["FakeSpeaker"]] = []

    def __init__(self, device):
        if device == "broken":
            raise AudioError("there is no such loudspeaker")
        self.device, self.heard, self.left = device, [], None
        self.instances.append(self)

    def write(self, audio):
        self.heard.append(audio)
        if self.device == "interrupted" and len(self.heard) == 3:
            raise KeyboardInterrupt

    def drain(self):
        self.heard.append(None)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.left = kind


@pytest.fixture
def speaker(monkeypatch):
    for module in (speech, voices):
        monkeypatch.setattr(module, "Speaker", FakeSpeaker)
    monkeypatch.setattr(FakeSpeaker, "instances", [])
    return FakeSpeaker.instances


def test_without_a_file_it_plays(model, speaker):
    assert main(["--model", model, "Hello there", "--seed", "1"]) == 0
    assert sum(map(len, speaker[0].heard)) > 10_000 and speaker[0].left is None


def test_with_a_file_it_plays_only_on_demand(model, speaker, tmp_path):
    wav = tmp_path / "a.wav"
    assert main(["--model", model, "Hello", "--out", str(wav)]) == 0
    assert speaker == []
    assert main(["--model", model, "Hello", "--out", str(wav), "--play", "--seed", "2"]) == 0
    assert sum(map(len, speaker[0].heard)) == soundfile.info(wav).frames


def test_every_voice_says_a_sentence_after_its_name(model, speaker, monkeypatch):
    told = []
    monkeypatch.setattr(voices, "put", lambda text: told.append((text, len(speaker[0].heard))))
    args = ["--model", model, "--list-voices", "--play", "--seed", "1", "--max-seconds", "0.4"]
    assert main([*args, "Hello there"]) == 0
    # a name, five chunks, and then the next one, when they have been heard
    assert told == [(f"voice{i}.wav\n", 6 * i) for i in range(3)]
    heard = [[chunk for chunk in speaker[0].heard[6 * i : 6 * i + 5]] for i in range(3)]
    assert not np.array_equal(heard[0], heard[1])
    with dsm_mlx.load_tts(model) as tts:
        said = tts.synthesize("Hello there", "voice1.wav", seed=1, max_seconds=0.4)
    np.testing.assert_allclose(np.concatenate(heard[1]), said.audio, atol=1e-5)


def test_a_damaged_voice_is_told_and_the_next_one_speaks(model, speaker, tmp_path, capsys):
    folder = shutil.copytree(model, tmp_path / "model")
    (voice,) = folder.glob("voice1.wav.*")
    voice.write_bytes(b"no voice")
    args = ["--model", str(folder), "--list-voices", "--play", "--max-seconds", "0.08"]
    assert main(args) == 1
    out, err = capsys.readouterr()
    assert out.split() == ["voice0.wav", "voice1.wav", "voice2.wav"]
    assert "error: " in err and "voice1.wav" in err
    assert [chunk is None for chunk in speaker[0].heard] == [False, True] * 2


def test_interrupted_the_loudspeaker_falls_silent(model, speaker):
    assert main(["--model", model, "Hello there", "--device", "interrupted"]) == 130
    assert len(speaker[0].heard) == 3 and speaker[0].left is KeyboardInterrupt


def test_a_loudspeaker_that_is_missing(model, speaker, capsys):
    assert main(["--model", model, "Hello", "--device", "broken"]) == 1
    assert "no such loudspeaker" in capsys.readouterr().err


def test_the_command_says_what_the_library_says(model, tmp_path):
    """With the same seed; guidance is that which the model was taught, 2.0, for both."""
    wav = tmp_path / "a.wav"
    assert main(["--model", model, "Hello", "--out", str(wav), "--seed", "4"]) == 0
    pcm, _ = soundfile.read(wav, dtype="float32")
    with dsm_mlx.load_tts(model) as tts:
        expected, other = (tts.synthesize("Hello", seed=4, cfg=cfg).audio for cfg in (None, 1.0))
    np.testing.assert_allclose(pcm, expected, atol=1e-4)
    assert other.shape != expected.shape or abs(other - expected).max() > 1e-3
