"""Commands work without what they do not need, and say in one line what they cannot write."""

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import CONVERT, SERVE, STT, TTS, run

from dsm_mlx import Transcript, Word
from dsm_mlx.cli import common, transcripts
from dsm_mlx.cli.transcribe import main

FULL = Path("/dev/full")
ASCII = {**os.environ, "PYTHONIOENCODING": "ascii"}
needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")


@pytest.fixture(scope="module")
def stt(small):
    return ["--model", small("stt-tiny")]


@pytest.fixture(scope="module")
def tts(small):
    return ["--model", small("tts-tiny"), "--seed", 1]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "a.wav"
    pcm = 0.2 * np.random.default_rng(0).standard_normal(2 * 24_000)
    soundfile.write(path, pcm.astype(np.float32), 24_000)
    return path


@pytest.fixture(scope="module")
def words(stt, sound):
    status, out, _ = run(STT, *stt, sound)
    assert status == 0 and out.strip()
    return out


@pytest.mark.parametrize("shell", ["<&-", "2>&-", "<&- 2>&-"])
def test_words_come_without_stdin_and_stderr(stt, sound, words, shell):
    assert run(STT, *stt, sound, shell=shell) == (0, words, "")


@pytest.mark.thorough
@pytest.mark.parametrize("shell", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_files_are_written_without_any_stream(stt, tts, sound, words, tmp_path, shell):
    status, out, err = run(STT, *stt, sound, "--output-dir", tmp_path, shell=shell)
    assert (status, out) == (0, "") and "Traceback" not in err
    assert (tmp_path / "a.txt").read_text() == words
    spoken, said = tmp_path / "b.wav", tmp_path / "b.json"
    status, out, err = run(TTS, *tts, "One two", "--out", spoken, "--words", said, shell=shell)
    assert (status, out) == (0, "") and "Traceback" not in err
    assert soundfile.info(spoken).frames > 0 and len(json.loads(said.read_text())) == 2
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.json", "b.wav"]


@pytest.mark.parametrize(
    ("command", "args", "shell", "named"),
    [
        (STT, ["SOUND"], ">&-", "stdout"),
        (STT, ["-"], "<&-", "stdin"),
        (STT, ["--list-devices"], ">&-", "stdout"),
        (TTS, ["-", "--out", "a.wav"], "<&-", "stdin"),
        (TTS, ["Hi", "--out", "-"], ">&-", "stdout"),
        (TTS, ["--list-voices"], ">&-", "stdout"),
    ],
)
def test_a_stream_that_is_needed_is_named_before_the_model_is_looked_for(
    sound, tmp_path, command, args, shell, named
):
    args = [str(sound) if arg == "SOUND" else arg for arg in args]
    status, out, err = run(command, "--model", tmp_path / "no", *args, shell=shell, cwd=tmp_path)
    assert (status, out) == (1, "") and os.listdir(tmp_path) == []
    assert len(err.splitlines()) == 1 and err.startswith(f"error: {named}: it is closed")


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_model_is_converted_without_any_stream(small, tmp_path, shell):
    """Also where nothing can be shown, under a name that ASCII does not know."""
    made = tmp_path / "ümgewandelt f16\n"
    environment = {**ASCII, "LC_ALL": "C"}
    status, _, err = run(
        CONVERT, small("stt-tiny"), made, "--dtype", "float16", shell=shell, env=environment
    )
    assert status == 0 and "Traceback" not in err
    assert (made / "config.json").is_file() and len(os.listdir(tmp_path)) == 1
    status, _, err = run(CONVERT, small("stt-tiny"), made, shell=shell, env=environment)
    assert status == 1 and "Traceback" not in err


@pytest.mark.thorough
@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_says_what_is_wrong_without_any_stream(tmp_path, shell):
    status, _, err = run(SERVE, "--stt", tmp_path / "no", "--tts", "none", shell=shell)
    assert status == 1 and "Traceback" not in err


def test_streams_that_are_none(stt, sound, words, monkeypatch, tmp_path):
    """As under pythonw, or in a service that took them away."""
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    args = [*map(str, stt), str(sound)]
    assert main([*args, "--output-dir", str(tmp_path)]) == 0
    assert (tmp_path / "a.txt").read_text() == words
    assert main(args) == 1


# As a service may run it: what the model is loaded from must not get the descriptor 0.
FILLED = """
import os
from dsm_mlx.files.descriptors import fill_standard
for number in (0, 1, 2):
    os.close(number)
fill_standard()
free = os.open(os.devnull, os.O_RDONLY)
fill_standard()
again = os.open(os.devnull, os.O_RDONLY)
os._exit(10 * free + again + 100 * sum(os.get_inheritable(number) for number in (0, 1, 2)) - 300)
"""


def test_closed_descriptors_are_filled_once():
    done = subprocess.run([sys.executable, "-c", FILLED], timeout=60)
    assert done.returncode == 34


@needs_full
def test_a_full_disk_is_named(stt, tts, sound, tmp_path):
    status, _, err = run(STT, *stt, sound, shell=f"> {FULL}")
    assert (status, err) == (1, "error: stdout: No space left on device\n")
    status, _, err = run(TTS, *tts, "One two", "--out", "-", shell=f"> {FULL}")
    assert (status, err) == (1, "error: stdout: No space left on device\n")
    status, _, err = run(TTS, *tts, "One two", "--words", FULL, "--out", tmp_path / "a.wav")
    assert status == 1 and err.endswith(f"error: {FULL}: No space left on device\n")


@needs_full
def test_a_full_disk_for_messages_changes_nothing(stt, sound, words):
    assert run(STT, *stt, sound, "missing.wav", shell=f"2> {FULL}") == (1, f"{sound}: {words}", "")
    assert run(STT, *stt, sound, shell=f"2> {FULL}") == (0, words, "")


@needs_full
def test_help_that_cannot_be_written_is_no_traceback():
    status, _, err = run(STT, "--help", shell=f"> {FULL}")
    assert "Traceback" not in err and "Exception ignored" not in err and status in (0, 1)


def odd_names(folder, sound):
    """Names that a file system takes and not everything else does; files that hold `sound`."""
    names = [b"\xff\xfe.wav", "naïve 😀.wav".encode(), b"two\nlines.wav", b"n" * 251 + b".wav"]
    for name in names:
        path = os.path.join(os.fsencode(folder), name)
        try:
            with open(path, "wb") as file:
                file.write(sound.read_bytes())
        except OSError:  # macOS takes UTF-8 only
            continue
        yield os.fsdecode(path)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "ascii:surrogateescape"])
def test_odd_names_are_shown_escaped(stt, sound, words, tmp_path, encoding):
    names = list(odd_names(tmp_path, sound))
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [*STT, *map(str, stt), *names, "--batch", "4"]
    done = subprocess.run(command, capture_output=True, timeout=120, env=environment)
    lines = done.stdout.decode(encoding.partition(":")[0]).splitlines()
    assert done.returncode == 0 and b"Traceback" not in done.stderr
    assert len(lines) == len(names) and all(line.endswith(words.strip()) for line in lines)
    text = "\n".join(lines)
    assert "two\\nlines.wav" in text
    assert ("naïve 😀" if encoding == "utf-8" else "ve \\U0001f600") in text


def test_odd_names_get_their_results(stt, sound, words, tmp_path):
    """Each in a file of the same name; one whose name cannot be is told, and the others go on."""
    sounds, texts = tmp_path / "sounds", tmp_path / "texts"
    sounds.mkdir()
    names = list(odd_names(sounds, sound))
    options = ["--output-format", "all", "--output-dir", texts]
    status, out, err = run(STT, *stt, *names, sound, *options, env=ASCII)
    assert (status, out) == (1, "") and "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "nnn" in errors[0] and "ame too long" in errors[0]
    written = {name for name in os.listdir(texts) if not name.startswith("nnn")}
    stems = [Path(name).stem for name in [*names, str(sound)] if "nnn" not in name]
    kinds = ("txt", "srt", "vtt", "json")
    expected = {f"{stem}.{kind}" for stem in stems for kind in kinds}
    assert {unicodedata.normalize("NFC", name) for name in written} == expected
    assert (texts / "a.txt").read_text() == words
    assert not [name for name in os.listdir(texts) if name.startswith(".")]


def test_a_name_that_is_too_long_is_told_before_the_model_is_looked_for(sound, tmp_path):
    name = tmp_path / ("n" * 251 + ".wav")
    name.write_bytes(sound.read_bytes())
    options = ["--output-format", "json", "--output-dir", tmp_path]
    status, _, err = run(STT, "--model", tmp_path / "no", name, *options)
    assert status == 1 and len(err.splitlines()) == 1 and "ame too long" in err


def test_a_result_that_cannot_be_written_is_told_and_the_others_are(stt, sound, tmp_path):
    """Where that is not known before, as for a folder that is made in between."""
    texts = tmp_path / "texts"
    other = tmp_path / "b.wav"
    other.write_bytes(sound.read_bytes())

    save = transcripts._save

    def save_beside(args, source, transcript):
        (texts / "a.txt").mkdir(parents=True, exist_ok=True)
        save(args, source, transcript)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transcripts, "_save", save_beside)
        args = [*map(str, stt), str(sound), str(other), "--output-dir", str(texts)]
        assert main(args) == 1
    assert sorted(os.listdir(texts)) == ["a.txt", "b.txt"] and (texts / "a.txt").is_dir()


def test_words_and_json_that_the_terminal_cannot_show(tmp_path, monkeypatch):
    """Words are escaped, JSON as JSON does it."""
    path = tmp_path / "out"
    transcript = Transcript("é😀", [Word("é😀", 0.0, 1.0)], duration=1.0)
    with path.open("w", encoding="ascii", errors="backslashreplace") as out:
        monkeypatch.setattr(sys, "stdout", out)
        for kind in ("txt", "json"):
            args = transcribe_args(tmp_path / "x.wav", "--output-format", kind)
            assert transcripts.deliver(args, "x.wav", transcript) is None
    text = path.read_text()
    line, _, data = text.partition("\n")
    assert line == "\\xe9\\U0001f600" and json.loads(data)["text"] == "é😀"


def transcribe_args(*args):
    from dsm_mlx.cli.transcribe_args import parse

    return parse([*map(str, args)])


def test_half_a_sign_in_a_word_leaves_no_temporary_file(tmp_path):
    args = transcribe_args("x.wav", "--output-format", "all", "--output-dir", tmp_path / "out")
    transcript = Transcript("a\udc80b", [Word("a\udc80b", 0.0, 1.0)], duration=1.0)
    assert transcripts.deliver(args, "x.wav", transcript) is None
    names = [f"x.{kind}" for kind in ("json", "srt", "txt", "vtt")]
    assert sorted(os.listdir(tmp_path / "out")) == names


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "a.wav"), "a.wav: No space left on device"),
        (OSError(28, "No space left on device", b"\xff.wav"), "\\udcff.wav: No space left on"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("what is wrong"), "what is wrong"),
    ],
)
def test_errors_name_their_file(capsys, error, line):
    common.say_error(error)
    assert capsys.readouterr().err.startswith(f"error: {line}")


def test_a_folder_that_cannot_be_written(sound, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/deeper"):
        assert main([str(sound), "--output-dir", str(tmp_path / folder)]) == 1
        assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: it is no folder\n"
