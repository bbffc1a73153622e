"""The command in a process of its own: what it prints, where, and how it ends.

Sound that a person would call speech is tested with `tiny` in test_tiny.py; here random weights
do, because only the plumbing counts.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
from golden import edit_json

from dsm_mlx import AudioError, EndOfTurn, Prompt, Transcript, Word, load_stt
from dsm_mlx.audio import ENCODINGS
from dsm_mlx.cli import transcribe_args, transcription
from dsm_mlx.cli.printer import Printer, plain_text
from dsm_mlx.cli.steering_args import steering
from dsm_mlx.cli.transcribe import main

RATE = 24_000


@pytest.fixture(scope="session")
def model(checkpoint):
    return str(checkpoint("stt-tiny"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Good and bad sound files."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(3)
    second = (0.2 * rng.standard_normal(RATE)).astype(np.float32)
    soundfile.write(folder / "good.wav", second, RATE)
    soundfile.write(folder / "one.wav", second[:1], RATE)
    soundfile.write(folder / "silent.wav", 0 * second, RATE)
    soundfile.write(folder / "five.wav", np.stack([second] * 5, axis=1), RATE)
    soundfile.write(folder / "low.wav", second[:8000], 8000)
    soundfile.write(folder / "high.flac", np.repeat(second, 2), 192_000)
    second[500] = np.nan
    soundfile.write(folder / "nan.wav", second, RATE, subtype="FLOAT")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "none").mkdir()
    (folder / "text.wav").write_text("This is not sound.\n")
    good = (folder / "good.wav").read_bytes()
    (folder / "header.wav").write_bytes(good[:30])
    return folder


def run(*args, stdin=b"", **options):
    command = [sys.executable, "-m", "dsm_mlx.stt", *map(str, args)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, **options)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize("name", ["good.wav", "one.wav", "silent.wav", "five.wav", "low.wav"])
def test_a_file_becomes_a_line(model, folder, name):
    status, out, err = run("--model", model, folder / name)
    assert (status, out.count("\n")) == (0, 1) and "Traceback" not in err


def test_several_files_are_named_and_do_not_disturb_each_other(model, folder):
    names = [folder / name for name in ("good.wav", "nan.wav", "high.flac", "missing.wav")]
    status, out, err = run("--model", model, "--batch", 2, *names)
    assert status == 1
    lines = out.splitlines()
    assert sorted(line.split(": ")[0] for line in lines) == sorted(map(str, [names[0], names[2]]))
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and "nan.wav" in errors[0] + errors[1] and "missing.wav" in err


@pytest.mark.parametrize(
    "name, said",
    [
        ("missing.wav", "missing.wav"),
        ("empty.wav", "empty.wav"),
        ("text.wav", "text.wav"),
        ("header.wav", "header.wav"),
        ("nan.wav", "NaN"),
        ("none", "a folder without sound files"),
    ],
)
def test_bad_sound_is_one_line_and_status_1(model, folder, name, said):
    status, out, err = run("--model", model, folder / name)
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1 and err.startswith("error: ") and said in err


@pytest.mark.parametrize(
    "name, said",
    [
        ("no/such/folder", "no such folder"),
        ("stt-9b", "tiny, stt-1b, stt-2.6b"),
        ("nobody/nothing-here", "Hugging Face"),
    ],
)
def test_a_model_that_does_not_exist(folder, name, said, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    status, out, err = run("--model", name, folder / "good.wav", env=environment)
    assert (status, out) == (1, "")
    assert err.splitlines()[-1].startswith("error: ") and said in err and "Traceback" not in err


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["--mic", "a.wav"],
        ["-", "a.wav"],
        ["a.wav", "--output-format", "mp4"],
        ["a.wav", "--output-format", "all"],
        ["a.wav", "b.wav", "--output-format", "srt"],
        ["a.wav", "--output-format", "srt", "--timestamps"],
        ["a/x.wav", "b/X.flac", "--output-dir", "out"],
        ["a.wav", "--bits", "5"],
        ["a.wav", "--batch", "0"],
        ["a.wav", "--delay", "-1"],
        ["a.wav", "--delay", "nan"],
        ["a.wav", "--seed", "-1"],
        ["a.wav", "--rate", "16000"],
        ["-", "--rate", "0"],
        ["-", "--encoding", "mp3"],
    ],
)
def test_usage_is_status_2(args):
    status, out, err = run(*args)
    assert (status, out) == (2, "") and "error: " in err and "Traceback" not in err


def test_every_format_is_written(model, folder, tmp_path):
    status, out, _ = run(
        "--model", model, folder / "good.wav", "--output-format", "all", "--output-dir", tmp_path
    )
    assert (status, out) == (0, "")
    files = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    assert sorted(files) == [".json", ".srt", ".txt", ".vtt"]
    data = json.loads(files[".json"])
    assert data["text"] == files[".txt"].strip() and data["duration"] == 1
    assert files[".vtt"].startswith("WEBVTT") and "-->" in files[".srt"]
    assert "pauses" not in data


def test_what_comes_through_a_pipe_is_written_as_live(model, folder, tmp_path):
    _, expected, _ = run("--model", model, folder / "good.wav")
    sound = (folder / "good.wav").read_bytes()
    assert run("--model", model, "-", "--output-dir", tmp_path, stdin=sound)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["live.txt"]
    assert (tmp_path / "live.txt").read_text() == expected


def test_pauses_on_demand(model, folder):
    _, out, _ = run("--model", model, folder / "good.wav", "--output-format", "json", "--pauses")
    pauses = json.loads(out)["pauses"]
    assert len(pauses) == 13 and set(pauses[0]["probabilities"]) == {"0.5", "1", "2", "3"}


def test_times_of_words(model, folder):
    _, text, _ = run("--model", model, folder / "good.wav")
    _, out, _ = run("--model", model, folder / "good.wav", "--timestamps")
    assert [line.split("] ")[1] for line in out.splitlines()] == text.split()


def test_times_of_words_in_a_file(model, folder, tmp_path):
    _, expected, _ = run("--model", model, folder / "good.wav", "--timestamps")
    run("--model", model, folder / "good.wav", "--timestamps", "--output-dir", tmp_path)
    assert expected and (tmp_path / "good.txt").read_text() == expected


def test_ends_of_turns_in_a_text():
    """They stand between the words that came before and after, in text as in live captions."""
    words = [Word("one", 0, 1), Word("two", 1, 2), Word("three", 5, 6)]
    transcript = Transcript("one two three", words, turns=[EndOfTurn(3.0)])
    lines = plain_text(transcript, Printer(pauses=True))
    assert lines == ["one two", "-- end of turn at 3.00 s", "three"]


def test_a_lost_microphone_keeps_what_was_heard(model, tmp_path, monkeypatch, capsys):
    noise = np.random.default_rng(0).standard_normal(4 * RATE)

    class Lost:
        """A microphone that stops after four seconds."""

        def __init__(self, device, rate):
            pass

        def __enter__(self):
            yield (0.2 * noise).astype(np.float32)
            raise AudioError("the microphone is lost")

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(transcription, "Microphone", Lost)
    monkeypatch.setattr(transcription, "find_device", lambda device, kind: None)
    args = ["--model", model, "--mic", "--output-format", "srt", "--output-dir", str(tmp_path)]
    assert main(args) == 1
    assert "-->" in (tmp_path / "live.srt").read_text()
    assert "error: the microphone is lost" in capsys.readouterr().err


def test_stdin_raw_and_wav_equal_the_file(model, folder):
    _, text, _ = run("--model", model, folder / "good.wav")
    pcm, _ = soundfile.read(folder / "good.wav", dtype="int16")
    for data in ((folder / "good.wav").read_bytes(), pcm.tobytes()):
        status, out, err = run("--model", model, "-", stdin=data)
        assert status == 0 and out.split() == text.split() and "Traceback" not in err


def test_a_folder_of_folders_names_the_option_that_hears_them(model, tmp_path):
    (tmp_path / "talks/monday").mkdir(parents=True)
    status, out, err = run("--model", model, tmp_path)
    assert (status, out) == (1, "") and "--recursive" not in err
    (tmp_path / "talks/monday/a.wav").touch()
    status, out, err = run("--model", model, tmp_path)
    assert (status, out) == (1, "") and len(err.splitlines()) == 1 and "--recursive" in err


@pytest.mark.parametrize("data", [b"", b"RIFF"])
def test_stdin_without_sound(model, data):
    status, out, err = run("--model", model, "-", stdin=data)
    assert status == 1 and out == "" and err.startswith("error: stdin")


def test_samples_without_a_header_are_what_the_options_say(model, folder):
    """16 kHz stereo of 32-bit floats, whose channels differ; the file tells the same of itself."""
    pcm = 0.2 * np.random.default_rng(5).standard_normal((16_000, 2)).astype("<f4")
    path = folder / "none/floats.w64"
    soundfile.write(path, pcm, 16_000, subtype="FLOAT")
    _, expected, _ = run("--model", model, path)
    given = ["--rate", 16_000, "--encoding", "f32le", "--channels", 2]
    status, out, _ = run("--model", model, "-", *given, stdin=pcm.tobytes())
    path.unlink()
    assert status == 0 and out and out == expected


def test_the_encodings_that_the_help_names_are_those_there_are():
    text = transcribe_args.parser().format_help_all()
    assert all(name in text for name in ENCODINGS)


def test_a_folder_is_the_sound_files_in_it(model, folder, tmp_path):
    for name in ("b.wav", "a.WAV", ".hidden.wav", "notes.txt"):
        shutil.copy(folder / "good.wav", tmp_path / name)
    status, out, _ = run("--model", model, tmp_path)
    assert status == 0
    names = [line.split(": ")[0] for line in out.splitlines()]
    assert names == [str(tmp_path / "a.WAV"), str(tmp_path / "b.wav")]


def test_what_is_missing_is_told_before_the_model_is_loaded(folder, tmp_path):
    """The model, which would be told of first, is not even looked for."""
    status, out, err = run("--model", tmp_path / "no", folder / "missing.wav", folder / "empty.wav")
    assert (status, out) == (1, "") and "no such file" in err and "empty" in err
    assert len(err.splitlines()) == 2


def test_a_microphone_that_is_missing_is_told_before_the_model_is_loaded(tmp_path):
    status, out, err = run("--model", tmp_path / "no", "--mic", "--device", "no such device")
    assert (status, out) == (1, "") and len(err.splitlines()) == 1 and "no such folder" not in err


def test_chance_is_that_of_the_library(model, folder):
    file = folder / "good.wav"
    status, out, _ = run("--model", model, file, "--temperature", 1, "--seed", 7)
    with load_stt(model) as stt:
        expected = stt.transcribe(file, temperature=1.0, seed=7).text
        assert stt.transcribe(file).text != expected
    assert (status, out) == (0, expected + "\n")


@pytest.mark.thorough
def test_a_delay_that_the_model_does_not_know_is_told(folder):
    _, _, err = run("--model", "tiny", folder / "good.wav", "--delay", 30)
    assert "--delay 30: 2.5 s is used" in err
    _, _, err = run("--model", "tiny", folder / "good.wav", "--delay", 2)
    assert "--delay" not in err


def test_stdin_as_json(model, folder):
    data = (folder / "good.wav").read_bytes()
    _, out, _ = run("--model", model, "-", "--output-format", "json", stdin=data)
    assert json.loads(out)["duration"] == 1


def test_ctrl_c_ends_with_what_was_heard(model):
    """Words appear while the pipe is still open; an interrupt then ends cleanly, status 0."""
    rng = np.random.default_rng(0)
    pcm = (6000 * rng.standard_normal(4 * RATE)).astype("<i2").tobytes()
    command = [sys.executable, "-m", "dsm_mlx.stt", "--model", model, "-"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdin.write(pcm)
        process.stdin.flush()
        early = process.stdout.read(5)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        late, err = process.stdout.read(), process.stderr.read()
        assert process.wait(60) == 0
    assert len(early) == 5 and late and b"Traceback" not in err


@pytest.mark.parametrize("option", ["--pauses", "--timestamps"])
def test_a_reader_that_goes_away_is_no_traceback(model, folder, option):
    command = [sys.executable, "-m", "dsm_mlx.stt", "--model", model, option]
    command.append(str(folder / "good.wav"))
    reader, writer = os.pipe()
    os.close(reader)
    # with a buffer, as users have it: what it holds is written last
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60, env=buffered)
    os.close(writer)
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr


def test_the_word_in_progress_is_shown_on_a_terminal():
    """Dimmed behind the line, and taken back when the word is complete."""
    printer = Printer(terminal=True)
    steps = [
        printer.show([], "he"),
        printer.show([Word("hello", 0, 1)], "wor"),
        printer.show([Word("world", 1, 2), EndOfTurn(2)], ""),
    ]
    assert steps == [
        "\x1b[2m he\x1b[0m",
        "\x1b[3D\x1b[Khello\x1b[2m wor\x1b[0m",
        "\x1b[4D\x1b[K world\n",
    ]
    assert printer.end() == ""


def test_the_import_is_light():
    """`import dsm_mlx` brings in neither MLX nor numpy: it must stay below 0.3 s."""
    code = "import sys, dsm_mlx; print(sorted({'mlx', 'numpy', 'soundfile'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "[]"


def broken(change):
    """A parameter: how to break a checkpoint, given its folder and its config."""

    def apply(folder):
        edit_json(folder / "config.json", lambda config: change(folder, config))

    return apply


def cut_short(folder, config):
    weights = folder / config["moshi_name"]
    weights.write_bytes(weights.read_bytes()[:-1000])


def not_a_tokenizer(folder, config):
    (folder / config["tokenizer_name"]).write_text("nothing of the kind")


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda _, config: config.pop("dim"), "'dim' is missing"),
        (lambda _, config: config.update(num_layers="three"), "'num_layers' is 'three'"),
        (lambda _, config: config.update(num_layers=2), "unexpected: transformer.layers.2"),
        (lambda _, config: config.update(text_card=97), "misshapen: text_emb.weight"),
        (lambda _, config: config.update(mimi_name="../mimi.safetensors"), "in its folder"),
        (lambda _, config: config.update(model_type="tts"), "expected 'stt'"),
        (cut_short, "cut short"),
        (not_a_tokenizer, "not a SentencePiece model"),
    ],
)
def test_a_broken_checkpoint_is_one_line_and_status_1(model, folder, tmp_path, change, said):
    copy = tmp_path / "model"
    shutil.copytree(model, copy)
    broken(change)(copy)
    status, out, err = run("--model", copy, folder / "good.wav")
    assert (status, out) == (1, "")
    assert len(err.splitlines()) == 1 and err.startswith(f"error: {copy}") and said in err


def test_what_to_expect(model, folder, tmp_path, capsys):
    """Prompts and phrases reach the library, as they are written."""
    boosts = tmp_path / "names.txt"
    boosts.write_text("# names\n\n the one=20\nyou\n", encoding="utf-8")
    sound = folder / "good.wav"
    options = ["--prompt", "we", "--prompt-audio", sound, "--boost", "it is=20", "--boost", "a=b"]
    args = transcribe_args.parse([str(sound), *map(str, options), "--boost-file", str(boosts)])
    given = steering(args)
    assert given["boost"] == {"the one": 20, "you": None, "it is": 20, "a=b": None}
    assert (given["prompt"].text, given["prompt"].audio) == ("we", str(sound))
    args = [
        "--model",
        model,
        sound,
        "--prompt-audio",
        sound,
        "--boost",
        "the=20",
        "--boost",
        "we=20",
    ]
    assert main(list(map(str, args))) == 0
    with load_stt(model) as stt:
        prompt = Prompt(audio=sound)
        text = stt.transcribe(sound, prompt=prompt, boost={"the": 20, "we": 20}).text
        assert text != stt.transcribe(sound).text
    assert capsys.readouterr().out.strip() == text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--prompt-audio", "nowhere.wav"], "nowhere.wav"),
        (["--boost-file", "nowhere.txt"], "nowhere.txt"),
        (["--boost", "we=21"], "the strength of 'we' is 21.0 (expected 0 to 20)"),
        (["--boost", "日本"], "a phrase of boost is '日本'"),
        (["--prompt", " "], "the prompt's text is ' ' (expected words)"),
        (["--prompt", "日本"], "the prompt's text has '日本'"),
    ],
)
def test_what_cannot_be_expected_is_one_line(model, folder, options, said, capsys):
    assert main(["--model", model, str(folder / "good.wav"), *options]) == 1
    told = capsys.readouterr()
    assert not told.out and said in told.err and told.err.count("\n") == 1
