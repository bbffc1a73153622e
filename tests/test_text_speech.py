"""Normalised text as the library and the commands say it, with `tiny`."""

import json
import os
import re
import subprocess
import sys

import pytest
from commands import SERVE, STT, TTS
from serving import Served

import dsm_mlx

BLOCK = "import sys; sys.modules['num2words'] = None; import importlib.util as u; f = u.find_spec; "
BLOCK += "u.find_spec = lambda name, *a: None if name == 'num2words' else f(name, *a); "


@pytest.fixture(scope="module")
def tts():
    with dsm_mlx.load_tts("tiny") as model:
        yield model


@pytest.fixture(scope="module")
def stt():
    with dsm_mlx.load_stt("tiny") as model:
        yield model


def plain(words):
    return [word.text for word in words]


# ---- the library ---------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("written", "heard"),
    [
        ("It costs $5.50.", "it costs five dollars and fifty cents"),
        ("The train leaves at 10:30.", "the train leaves at ten thirty"),
        ("There are 22 people in the house.", "there are twenty two people in the house"),
    ],
)
def test_numbers_are_heard(tts, stt, written, heard):
    speech = tts.synthesize(written, "slt", seed=1, normalize="auto")
    assert stt.transcribe(speech.audio, sample_rate=24_000).text == heard
    assert plain(speech.words) == written.split()


@pytest.mark.thorough
def test_a_word_has_the_span_of_all_that_is_said_for_it(tts):
    speech = tts.synthesize("It costs $1,234.56 in all.", "slt", seed=1, normalize="en")
    assert plain(speech.words) == ["It", "costs", "$1,234.56", "in", "all."]
    price, following = speech.words[2:4]
    assert price.end == following.start and price.end - price.start > 2


@pytest.mark.thorough
def test_the_words_of_a_stream_are_those_of_the_text(tts):
    text = "It costs $1,234.56 in all. The **2nd** one is 5 km away, Nguyen."
    options = {"seed": 1, "normalize": "auto", "lexicon": {"nguyen": "win"}}
    speech = tts.synthesize(text, "slt", **options)
    with tts.stream("slt", **options) as stream:
        for at in range(0, len(text), 3):
            stream.feed(text[at : at + 3])
        stream.end()
        chunks = list(stream)
    words = [word for chunk in chunks for word in chunk.words]
    assert plain(words) == plain(speech.words)
    price = next(word for word in words if word.text == "$1,234.56")
    assert price in speech.words
    assert (chunks[0].ahead, chunks[-1].ahead) == (len(words), 0)


@pytest.mark.thorough
def test_off_is_as_it_stands(tts):
    text = "It costs 5 **dollars** (or so)"
    assert tts.synthesize(text, seed=1, temperature=0).words == (
        tts.synthesize(text, seed=1, temperature=0, normalize=None, lexicon=None).words
    )
    assert plain(tts.synthesize(text, seed=1).words) == [
        *("It", "costs", "5", "**dollars**", "or", "so"),
    ]


def test_a_dialogue_and_pauses(tts):
    turns = [("slt", "One.\n\nTwo 2"), ("slt", "Three")]
    words = tts.synthesize(turns, seed=1, normalize="en").words
    assert plain(words) == ["One.", "Two", "2", "Three"]
    assert words[1].start - words[0].end >= 0.8 - 1e-6


def test_what_is_left_out_of_a_stream_is_told(tts):
    with tts.stream("slt", normalize="en") as stream:
        stream.feed("Hello 🙂\n```\nx\n```\n")
        assert stream.left_out == ("🙂", "a code block of 1 line")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"normalize": "de"}, ValueError, r"normalize is 'de' \(expected None, \"auto\", \"en\""),
        ({"normalize": True}, TypeError, "normalize is True"),
        ({"lexicon": {"a": ""}}, ValueError, "lexicon has 'a'"),
        ({"lexicon": "a = b"}, TypeError, "lexicon is 'a = b'"),
    ],
)
def test_what_cannot_be_asked_for(tts, options, error, message):
    for call in (lambda: tts.synthesize("a", **options), lambda: tts.stream(**options)):
        with pytest.raises(error, match=message):
            call()


def test_without_the_extra_the_library_says_what_is_missing():
    code = BLOCK + (
        "import dsm_mlx; tts = dsm_mlx.load_tts('tiny')\n"
        "assert tts.synthesize('Hello', lexicon={'hello': 'hi'}).words[0].text == 'Hello'\n"
        "try: tts.synthesize('5', normalize='en')\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'dsm-mlx[text]'" in done.stdout and "normalize='en'" in done.stdout


# ---- the command ---------------------------------------------------------------------------


def run(*args, command=TTS, **options):
    done = subprocess.run(
        [*command, *map(str, args)], capture_output=True, text=True, timeout=120, **options
    )
    return done.returncode, done.stdout, done.stderr


def spoken(tmp_path, *args, **options):
    path = tmp_path / "words.json"
    out = ["--out", tmp_path / "a.wav", "--words", path, "--seed", 3]
    status, _, err = run("--model", "tiny", *args, *out, **options)
    assert status == 0, err
    return json.loads(path.read_text()), err


@pytest.mark.thorough
def test_the_command_says_numbers_and_keeps_the_spelling(tmp_path):
    words, err = spoken(tmp_path, "It costs $5.50, **all** of it 🙂")
    assert [word["text"] for word in words] == ["It", "costs", "$5.50,", "all", "of", "it"]
    assert words[2]["end"] - words[2]["start"] > 1
    assert "left out: 🙂\n" in err
    heard = run(tmp_path / "a.wav", command=STT)[1]
    assert "five dollars and fifty cents" in heard


@pytest.mark.thorough
def test_a_pipe_a_lexicon_and_paragraphs(tmp_path):
    (tmp_path / "names.txt").write_text("# names\nXyz = seven\n")
    args = ["-", "--lexicon", tmp_path / "names.txt", "--normalize", "en"]
    words, _ = spoken(tmp_path, *args, input="Xyz people\nsit.\n\nXyz is 7.\n")
    assert [word["text"] for word in words] == ["Xyz", "people", "sit.", "Xyz", "is", "7."]
    assert words[3]["start"] - words[2]["end"] >= 0.8 - 1e-6
    heard = run(tmp_path / "a.wav", command=STT)[1]
    assert heard.split().count("seven") == 3


def test_off(tmp_path):
    words, err = spoken(tmp_path, "It is 10:30 in **all**", "--normalize", "off")
    assert [word["text"] for word in words] == ["It", "is", "10", "30", "in", "**all**"]
    assert "left out" not in err


def test_a_lexicon_with_a_fault_is_one_line(tmp_path):
    (tmp_path / "names.txt").write_text("a = b\nc\n")
    status, out, err = run("Hi", "--lexicon", tmp_path / "names.txt", "--out", tmp_path / "a.wav")
    assert (status, out) == (1, "") and len(err.splitlines()) == 1
    assert re.fullmatch(r"error: .*names\.txt, line 2: 'c' \(expected .*\)\n", err)
    assert os.listdir(tmp_path) == ["names.txt"]
    status, _, err = run("Hi", "--lexicon", tmp_path / "none", "--out", tmp_path / "a.wav")
    assert status == 1 and "none" in err and len(err.splitlines()) == 1


@pytest.mark.thorough
def test_without_the_extra_the_command_says_so_once_and_goes_on(tmp_path):
    command = [sys.executable, "-c", BLOCK + "from dsm_mlx.cli.speak import main; main()"]
    args = ["--model", "tiny", "**Hello** 5", "--out", tmp_path / "a.wav"]
    status, _, err = run(*args, "--words", tmp_path / "a.json", command=command)
    assert status == 0 and err.count("numbers are read as they stand") == 1
    assert "pip install 'dsm-mlx[text]'" in err
    words = json.loads((tmp_path / "a.json").read_text())
    assert [word["text"] for word in words] == ["Hello", "5"]
    status, _, err = run(*args, "--normalize", "off", command=command)
    assert status == 0 and "numbers" not in err
    without = ["--model", "tiny", "**Hello** five", "--out", tmp_path / "a.wav"]
    status, _, err = run(*without, command=command)
    assert status == 0 and "numbers" not in err
    live = ["--model", "tiny", "-", "--out", tmp_path / "a.wav"]
    for text, times in (("Hello five", 0), ("Hello 5 and 6", 1)):
        status, _, err = run(*live, command=command, input=text)
        assert status == 0 and err.count("numbers are read as they stand") == times


@pytest.mark.thorough
def test_with_a_server_the_command_says_the_same(tmp_path):
    text = "It costs $5.50 🙂.\n\nThe **2nd** is xyz away."
    (tmp_path / "names.txt").write_text("xyz = five miles\n")
    args = [text, "--voice", "slt", "--lexicon", str(tmp_path / "names.txt")]
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    expected, _ = spoken(here, *args)
    with Served(*SERVE[1:], "--tts", "tiny", "--port", "0") as served:
        out = ["--out", there / "a.wav", "--words", there / "words.json", "--seed", 3]
        status, _, err = run(*args, *out, "--server", f"http://127.0.0.1:{served.port}")
    assert status == 0, err
    assert json.loads((there / "words.json").read_text()) == expected
    assert (there / "a.wav").read_bytes() == (here / "a.wav").read_bytes()
