"""What comes out, as values: what it says of itself, as a dict, as files, and what it imports."""

import json
import subprocess
import sys

import numpy as np
import pytest

import dsm_mlx
from dsm_mlx import captions
from dsm_mlx.results import (
    Chunk,
    EndOfTurn,
    Event,
    Mark,
    Partial,
    Pause,
    Speech,
    Transcript,
    Word,
)

WORDS = [Word("Good", 0.5, 0.9, 0.87654321), Word("morning.", 0.9, 1.6123)]
TRANSCRIPT = Transcript("Good morning.", WORDS, duration=2.00049)


def test_a_transcript_as_a_dict():
    assert TRANSCRIPT.to_dict() == {
        "text": "Good morning.",
        "duration": 2.0,
        "words": [
            {"text": "Good", "start": 0.5, "end": 0.9, "confidence": 0.8765},
            {"text": "morning.", "start": 0.9, "end": 1.612},
        ],
    }
    full = Transcript("", [], [Pause(0.08, {0.5: 0.25, 2: 1})], [EndOfTurn(1.5)])
    assert full.to_dict() == {
        "text": "",
        "duration": 0.0,
        "words": [],
        "turns": [1.5],
        "pauses": [{"time": 0.08, "probabilities": {"0.5": 0.25, "2": 1.0}}],
    }


def test_a_transcript_as_text():
    assert TRANSCRIPT.to_txt() == "Good morning.\n"
    assert json.loads(TRANSCRIPT.to_json()) == TRANSCRIPT.to_dict()
    assert TRANSCRIPT.to_srt() == "1\n00:00:00,500 --> 00:00:01,612\nGood morning.\n"
    assert TRANSCRIPT.to_vtt() == "WEBVTT\n\n00:00:00.500 --> 00:00:01.612\nGood morning.\n"
    style = captions.CaptionStyle(max_chars=8, max_lines=1)
    assert TRANSCRIPT.to_srt(style=style).count("-->") == 2
    assert TRANSCRIPT.to_vtt(style=style).count("-->") == 2
    assert "<u>Good</u> morning." in TRANSCRIPT.to_srt(highlight_words=True)
    assert "<u>Good</u> morning." in TRANSCRIPT.to_vtt(highlight_words=True)


@pytest.mark.parametrize("kind", captions.FORMATS)
def test_a_transcript_is_saved_as_its_name_says(kind, tmp_path):
    path = tmp_path / f"talk.{kind.upper()}"
    TRANSCRIPT.save(path)
    assert path.read_text("utf-8") == getattr(TRANSCRIPT, f"to_{kind}")()


def test_captions_are_saved_in_a_style(tmp_path):
    style = captions.CaptionStyle(max_chars=8, max_lines=1)
    TRANSCRIPT.save(str(tmp_path / "a.srt"), highlight_words=True, style=style)
    assert (tmp_path / "a.srt").read_text() == TRANSCRIPT.to_srt(highlight_words=True, style=style)


@pytest.mark.parametrize("name", ["talk.doc", "talk", "talk.srt.gz"])
def test_another_ending_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=rf"{name}: .*expected txt, srt, vtt, json"):
        TRANSCRIPT.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_empty_transcript(tmp_path):
    for kind in captions.FORMATS:
        Transcript("").save(tmp_path / f"a.{kind}")
    assert (tmp_path / "a.srt").read_text() == "" and (tmp_path / "a.txt").read_text() == "\n"
    assert json.loads((tmp_path / "a.json").read_text()) == Transcript("").to_dict()


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (TRANSCRIPT, "<Transcript of 2.00 s, 2 words: 'Good morning.'>"),
        (Transcript(""), "<Transcript of 0.00 s, 0 words>"),
        (Speech(np.zeros(36_000), 24_000, WORDS[:1]), "<Speech of 1.50 s, 1 word: 'Good'>"),
        (Chunk(np.zeros(1920)), "<Chunk of 1920 samples, 0 words>"),
    ],
)
def test_a_result_says_what_it_is_in_a_line(result, text):
    assert repr(result) == text


def test_a_long_result_says_no_more():
    words = [Word("word\n" * 9, i, i + 1) for i in range(5000)]
    for result in (Transcript("", words), Speech(np.zeros(9), 24_000, words), Chunk([], words)):
        assert len(repr(result)) < 120 and "\n" not in repr(result)
        assert "5000 words: 'word" in repr(result) and "…" in repr(result)


def test_how_long_speech_is():
    assert Speech(np.zeros(12_000, np.float32), 24_000).duration == 0.5


def test_confidence_does_not_make_words_differ():
    assert Word("a", 0, 1) == Word("a", 0, 1, 0.5) != Word("b", 0, 1, 0.5)
    assert hash(Word("a", 0, 1)) == hash(Word("a", 0, 1, 0.5))
    assert Word("a", 0, 1).confidence is None


def test_events_are_known_by_their_class():
    assert isinstance(Partial("hel", 1.5), Event) and isinstance(Mark([]), Event)
    assert Mark("a") == Mark("a") and Partial("hel", 1.5).time == 1.5


def test_what_callers_need_can_be_imported_without_models():
    """`import dsm_mlx` is quick because nothing large comes with it."""
    assert issubclass(dsm_mlx.BusyError, Exception)
    assert {"BusyError", "Mark", "Partial"} <= set(dsm_mlx.__all__) & set(vars(dsm_mlx))
    program = (
        "import sys, dsm_mlx\n"
        "for name in set(dsm_mlx.__all__) & set(vars(dsm_mlx)): getattr(dsm_mlx, name)\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    loaded = subprocess.check_output([sys.executable, "-c", program], text=True).split()
    assert "dsm_mlx" in loaded
    assert not {"mlx", "numpy", "sentencepiece", "huggingface_hub"} & set(loaded)
