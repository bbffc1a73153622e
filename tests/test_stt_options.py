"""What the stt command can be asked for beside words: channels, parts, names, captions, models."""

import json
import os
import re
import select
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import STT, TTS, run, start

import dsm_mlx
from dsm_mlx import EndOfTurn, Transcript, Word
from dsm_mlx.audio import read
from dsm_mlx.cli import transcribe_args
from dsm_mlx.cli.arguments import moment
from dsm_mlx.cli.printer import Printer, plain_text

DEMOS = Path(__file__).parents[1] / "demos/audio"
RATE = 24_000


@pytest.fixture(scope="module")
def model(checkpoint):
    return checkpoint("stt-tiny")


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Two channels that differ, 3 s long: random weights hear something in each."""
    path = tmp_path_factory.mktemp("noise") / "noise.wav"
    pcm = 0.2 * np.random.default_rng(3).standard_normal((3 * RATE, 2))
    soundfile.write(path, pcm, RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Two recordings at the same time, each in a channel."""
    sounds = [read(DEMOS / name) for name in ("bus.wav", "kitchen.wav")]
    pcm = np.zeros((max(map(len, sounds)), 2), np.float32)
    for channel, sound in enumerate(sounds):
        pcm[: len(sound), channel] = sound
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, pcm, RATE, "FLOAT")
    return path


# ---- help


@pytest.mark.parametrize("command", [STT, ["dsm-stt"]])
def test_the_help_fits_on_two_screens(command):
    """Of 24 lines of 80 characters; what is rare is in the other help, which says all."""
    if command != STT:
        command = [shutil.which(command[0], path=os.path.dirname(sys.executable)) or ""]
        if not command[0]:
            pytest.skip("the command is not installed")
    environment = {**os.environ, "COLUMNS": "80"}
    status, brief, err = run(command, "--help", env=environment)
    assert (status, err) == (0, "") and len(brief.splitlines()) <= 48
    assert max(map(len, brief.splitlines())) <= 80
    status, whole, err = run(command, "--help-all", env=environment)
    assert (status, err) == (0, "")
    options = {o for a in transcribe_args.parser()._actions for o in a.option_strings}
    assert all(re.search(rf"^ +(-h, )?{o}\b", whole, re.M) for o in options - {"-h"})
    for group in ("input", "hearing", "output", "captions"):
        assert re.search(rf"^{group}\b.*:$", brief, re.M) and re.search(rf"^{group}\b", whole, re.M)
    rare = {f"--{name.replace('_', '-')}" for name in transcribe_args.RARE}
    assert rare <= options and not any(re.search(rf"^ +{o}\b", brief, re.M) for o in rare)


# ---- who speaks


@pytest.mark.thorough
def test_channels_become_speakers_in_every_format(talk, tmp_path):
    args = "--model", "tiny", talk, "--channels", "split", "--speakers", "Ann,Bob"
    assert run(STT, *args, "--output-format", "all", "--output-dir", tmp_path)[0] == 0
    with dsm_mlx.load_stt("tiny") as stt:
        heard = stt.transcribe(talk, channels="split", speakers=["Ann", "Bob"])
    files = {path.suffix: path.read_text() for path in tmp_path.iterdir()}
    assert files[".srt"] == heard.to_srt() and "\nAnn: " in files[".srt"]
    assert files[".vtt"] == heard.to_vtt() and "\n<v Bob>" in files[".vtt"]
    assert {word["speaker"] for word in json.loads(files[".json"])["words"]} == {"Ann", "Bob"}
    assert files[".txt"] == heard.to_txt() == heard.text + "\n"
    status, out, _ = run(STT, *args, "--timestamps")
    assert status == 0 and out.splitlines() == [
        f"[{w.start:8.2f} -{w.end:8.2f}] {w.speaker}: {w.text}" for w in heard.words
    ]


def test_a_list_of_recordings_by_channel(model, noise, tmp_path):
    """Every line says of which file, and who."""
    other = tmp_path / "mono.wav"
    soundfile.write(other, read(noise), RATE)
    status, out, _ = run(STT, "--model", model, noise, other, "--channels", "split", "--batch", 2)
    heads = {tuple(line.split(": ")[:2]) for line in out.splitlines()}
    assert status == 0 and heads == {
        (str(noise), "channel 1"),
        (str(noise), "channel 2"),
        (str(other), "channel 1"),
    }


def test_lines_of_speakers_with_the_ends_of_their_turns():
    words = [
        Word("a", 0, 1, speaker="A"),
        Word("x", 0.5, 1, speaker="B"),
        Word("b", 1, 2, speaker="A"),
        Word("c", 9, 10, speaker="A"),
    ]
    heard = Transcript("", words, turns=[EndOfTurn(2.5, "B"), EndOfTurn(4.0, "A")])
    assert plain_text(heard, Printer()) == ["A: a b", "B: x", "A: c"]
    assert plain_text(heard, Printer(pauses=True)) == [
        "A: a b",
        "B: x",
        "-- B: end of turn at 2.50 s",
        "-- A: end of turn at 4.00 s",
        "A: c",
    ]


# ---- parts


def test_a_part_is_heard_and_its_times_stay(model, noise):
    args = "--model", model, noise, "--output-format", "json", "--start", "0:01", "--end", "2.5"
    status, out, _ = run(STT, *args)
    with dsm_mlx.load_stt(model) as stt:
        heard = stt.transcribe(noise, start=1, end=2.5)
    words = json.loads(out)["words"]
    assert status == 0 and words == heard.to_dict()["words"] and words
    assert words[0]["start"] >= 1 and json.loads(out)["duration"] == 2.5
    status, out, err = run(STT, "--model", model, noise, "--track", 2)
    assert (status, out) == (1, "") and "has one sound track (track is 2, expected 1)" in err
    status, out, err = run(STT, "--model", model, noise, "--start", 100)
    assert (status, out) == (1, "") and "no sound after 100 s" in err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90.5", 90.5), ("1:30", 90), ("00:01:30.500", 90.5), ("100:00:00", 360_000), ("0", 0)],
)
def test_moments(text, seconds):
    assert moment(text) == seconds


# ---- where results go


def test_what_is_there_is_not_done_again(model, noise, tmp_path):
    """Only where all of it is there; and nothing is loaded where nothing is left to do."""
    args = "--output-dir", tmp_path, "--output-format", "all", "--skip-existing", noise
    assert run(STT, "--model", model, *args)[0] == 0
    (tmp_path / "noise.srt").write_text("mine")
    status, out, err = run(STT, "--model", "no such model", *args)
    assert (status, out) == (0, "") and err.count("\n") == 1 and f"done: {noise}" in err
    assert (tmp_path / "noise.srt").read_text() == "mine"
    (tmp_path / "noise.vtt").unlink()
    assert run(STT, "--model", model, *args)[0] == 0
    assert "-->" in (tmp_path / "noise.srt").read_text() and (tmp_path / "noise.vtt").exists()


def test_results_have_the_name_that_is_wanted(model, noise, tmp_path):
    args = "--model", model, "--output-format", "srt"
    assert run(STT, *args, noise, "--output-name", "v1.2", cwd=tmp_path)[0] == 0
    copy = tmp_path / "other.wav"
    shutil.copy(noise, copy)
    names = "--output-dir", tmp_path / "texts", "--output-name", "{name}.en"
    assert run(STT, *args, noise, copy, *names)[0] == 0
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.srt")}
    assert found == {"v1.2.srt", "texts/noise.en.srt", "texts/other.en.srt"}


@pytest.mark.thorough
def test_captions_are_cut_as_the_options_say(model, noise):
    args = "--model", model, noise, "--output-format", "srt"
    with dsm_mlx.load_stt(model) as stt:
        heard = stt.transcribe(noise)
    style = dsm_mlx.captions.CaptionStyle(max_chars=20, max_lines=3, min_duration=2)
    options = "--max-line-width", 20, "--max-line-count", 3, "--min-duration", 2
    assert run(STT, *args, *options)[1] == heard.to_srt(style=style) != heard.to_srt()
    assert run(STT, *args, "--highlight-words")[1] == heard.to_srt(highlight_words=True)
    vtt = run(STT, *args[:-1], "vtt", "--confidence")[1]
    assert vtt == heard.to_vtt(confidence=True) and "<c.low>" in vtt


# ---- doubtful words on a terminal


def on_a_terminal(*command, env):
    """What a command writes to a terminal of its own."""
    import pty

    here, there = pty.openpty()
    with start(command, stdout=there, env=env) as process:
        os.close(there)
        parts = []
        while select.select([here], [], [], 60)[0]:
            try:
                part = os.read(here, 1 << 16)
            except OSError:  # which is how Linux tells the end
                break
            if not part:
                break
            parts.append(part)
        assert process.wait(60) == 0
    os.close(here)
    return b"".join(parts).decode()


def test_doubtful_words_have_a_colour_on_a_terminal(model, noise):
    args = [*STT, "--model", str(model), str(noise), "--confidence"]
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    coloured = on_a_terminal(*args, env=plain)
    status, text, _ = run(args, env=plain)
    assert status == 0 and "\x1b" not in text
    assert coloured.count("\x1b[31m") > 0
    assert re.sub(r"\x1b\[\d+m|\r", "", coloured) == text
    for other in {"NO_COLOR": "1"}, {"TERM": "dumb"}:
        assert "\x1b" not in on_a_terminal(*args, env=plain | other)
    assert "\x1b" in on_a_terminal(*args, env=plain | {"NO_COLOR": ""})
    assert "\x1b" not in on_a_terminal(*args[:-1], env=plain)


# ---- people who come from whisper


@pytest.mark.thorough
def test_what_whisper_takes_is_taken_with_a_word(noise, tmp_path):
    args = ["--model", "tiny", noise, "--output_format", "vtt", "--word_timestamps", "True"]
    args += ["--highlight_words", "False", "--max_line_width=20", "--output_dir", tmp_path]
    status, out, err = run(STT, *args, "--language", "English")
    assert (status, out) == (0, "") and (tmp_path / "noise.vtt").is_file()
    assert "--word-timestamps: words always have times" in err
    assert "--language English: no language is chosen; this model hears en\n" in err
    _, _, err = run(STT, "--model", "tiny", noise, "--language", "de")
    assert "this model hears en, and will not understand it" in err


def test_files_after_two_dashes_are_files():
    assert transcribe_args._as_ours(["--", "--a_b", "True"]) == ["--", "--a_b", "True"]
    assert transcribe_args._as_ours(["--highlight-words", "True"]) == ["--highlight-words"]
    assert transcribe_args._as_ours(["True", "a_b.wav"]) == ["True", "a_b.wav"]


# ---- models


def test_models_on_this_machine(checkpoint, tmp_path):
    """What is bundled, and what is whole in the cache; nobody is asked for anything."""
    cached(tmp_path, "kyutai/stt-1b-en_fr-candle", checkpoint("stt-tiny"))
    cached(tmp_path, "some/voices-and-more", checkpoint("tts-tiny"))
    cached(tmp_path, "some/half", checkpoint("stt-tiny"), leave="model.safetensors")
    cached(tmp_path, "other/bert", checkpoint("stt-tiny"), model_type="bert")
    for name in ("models--broken", "models--a--b--c", "models--", "datasets--a--b"):
        (tmp_path / "hub" / name).mkdir()
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment.pop("HF_HUB_CACHE", None)
    status, out, err = run(STT, "--list-models", env=environment)
    assert (status, err) == (0, "")
    rows = [line.split(maxsplit=4) for line in out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["tiny", "stt"],
        ["tiny", "tts"],
        ["stt-1b", "stt"],
        ["some/voices-and-more", "tts"],
    ]
    assert all(float(row[2]) >= 0 and row[3] == "MB" for row in rows)
    assert "en " in out and str(tmp_path / "hub/models--kyutai--stt-1b") in out
    assert run(TTS, "--list-models", env=environment) == (0, out, "")


def cached(home, repository, source, leave="", **changes):
    """A repository in the cache of the hub, as its client would have put it there."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("abc")
    shutil.copytree(source, folder / "snapshots/abc")
    config = json.loads((folder / "snapshots/abc/config.json").read_text()) | changes
    (folder / "snapshots/abc/config.json").write_text(json.dumps(config))
    if leave:
        (folder / "snapshots/abc" / config.get("moshi_name", leave)).unlink()


def test_fewer_codebooks(model, noise):
    with dsm_mlx.load_stt(model, codebooks=2) as stt:
        expected = stt.transcribe(noise).text
    assert run(STT, "--model", model, noise, "--codebooks", 2)[1] == expected + "\n"
    status, out, err = run(STT, "--model", model, noise, "--codebooks", 99)
    assert (status, out) == (1, "") and re.search(
        r"error: codebooks is 99 \(expected 1 to \d+\)", err
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--mic", "--start", "3"], "--start is for files"),
        (["-", "--channels", "split"], "--channels split is for files"),
        (["a.wav", "--channels", "left"], "channels (split, or a number)"),
        (["a.wav", "--channels", "2"], "a number of --channels tell what comes through a pipe"),
        (["a.wav", "--speakers", "A,B"], "they need --channels split"),
        (["a.wav", "--start", "1:75"], "time (seconds, or HH:MM:SS)"),
        (["a.wav", "--start", "x:05"], "time (seconds, or HH:MM:SS)"),
        (["a.wav", "--start", "1:1:1:1"], "time (seconds, or HH:MM:SS)"),
        (["a.wav", "--start", "-1"], "--start"),
        (["a.wav", "--start", "3", "--end", "0:03"], "--end is not after --start"),
        (["a.wav", "--track", "0"], "from 1 up"),
        (["a.wav", "--skip-existing"], "--output-dir"),
        (["a.wav", "b.wav", "--output-name", "c"], "for several it needs {name}"),
        (["a.wav", "--output-name", "a/b"], "expected no folders"),
        (["a.wav", "--output-name", ""], "not a name"),
        (["a.wav", "--max-line-width", "20"], "--max-line-width is for captions"),
        (["a.wav", "--min-duration", "0"], "--min-duration is for captions"),
        (["a.wav", "--max-line-count", "0", "--output-format", "srt"], "from 1 up"),
        (["a.wav", "--confidence", "--output-format", "srt"], "srt cannot show it"),
        (["a.wav", "--confidence", "--output-format", "json"], "json has it anyway"),
        (["a.wav", "--confidence", "--server", "http://localhost:1"], "--confidence"),
        (["a.wav", "--channels", "split", "--server", "http://localhost:1"], "--channels split"),
        (["a.wav", "--codebooks", "8", "--server", "http://localhost:1"], "--codebooks"),
    ],
)
def test_usage(args, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)  # a terminal would be refused
    with pytest.raises(SystemExit) as ended:
        transcribe_args.parse(args)
    assert ended.value.code == 2 and said in capsys.readouterr().err
