"""Captions: golden files, the rules of style, and times that hold for any words."""

import json
import os
import random
import re

import pytest

from dsm_mlx import captions
from dsm_mlx.captions import CaptionStyle, to_json, to_srt, to_txt, to_vtt, write
from dsm_mlx.results import EndOfTurn, Pause, Transcript, Word


def spoken(text, start=0.0, length=0.4):
    """Words of equal length, one after the other."""
    return [
        Word(word, start + i * length, start + (i + 1) * length)
        for i, word in enumerate(text.split())
    ]


WORDS = [
    *spoken("We say a <b> & go.", 0.5),
    *spoken("Dr. Jones came at half past nine", 3661.0),
    *spoken("and stayed.", 3666.25),
]

SRT = """\
1
00:00:00,500 --> 00:00:02,900
We say a <b> & go.

2
01:01:01,000 --> 01:01:03,800
Dr. Jones came at half past nine

3
01:01:06,250 --> 01:01:07,050
and stayed.
"""

VTT = """\
WEBVTT

00:00:00.500 --> 00:00:02.900
We say a &lt;b&gt; &amp; go.

01:01:01.000 --> 01:01:03.800
Dr. Jones came at half past nine

01:01:06.250 --> 01:01:07.050
and stayed.
"""

HIGHLIGHTED = """\
1
00:00:01,000 --> 00:00:01,400
<u>one</u> two

2
00:00:01,400 --> 00:00:01,800
one <u>two</u>
"""


def test_golden_srt():
    assert to_srt(WORDS) == SRT


def test_golden_vtt():
    assert to_vtt(WORDS) == VTT


def test_golden_highlight():
    assert to_srt(spoken("one two", 1.0), highlight_words=True) == HIGHLIGHTED


def test_highlight_escapes_the_word_and_not_the_mark():
    vtt = to_vtt([Word("<i>", 0, 1)], highlight_words=True)
    assert "<u>&lt;i&gt;</u>" in vtt


def test_nothing_spoken():
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"
    assert to_txt([]) == "\n"
    assert to_srt([Word("  ", 0, 1)]) == ""


def texts(words, **style):
    """The captions as lists of lines."""
    return [
        [" ".join(word.text for word in line) for line in cue.lines]
        for cue in captions.cues(words, CaptionStyle(**style))
    ]


def test_lines_fill_up_and_then_captions():
    words = spoken("aaa bbb ccc ddd eee", length=0.1)
    assert texts(words, max_chars=7) == [["aaa bbb", "ccc ddd"], ["eee"]]
    assert texts(words, max_chars=7, max_lines=1) == [["aaa bbb"], ["ccc ddd"], ["eee"]]


def test_a_long_word_has_its_own_line():
    assert texts(spoken("a incomprehensible b"), max_chars=5) == [["a", "incomprehensible"], ["b"]]


def test_silence_begins_a_caption():
    words = [Word("one", 0, 1), Word("two", 1.7, 2), Word("three", 2.8, 3)]
    assert texts(words) == [["one two"], ["three"]]
    assert texts(words, gap=2) == [["one two three"]]


def test_a_caption_does_not_last_too_long():
    cues = captions.cues(spoken("a b c d e f g h i j"), CaptionStyle(max_duration=1.7))
    assert all(cue.end - cue.start <= 1.7 for cue in cues)
    assert [len(cue.words) for cue in cues] == [4, 4, 2]


@pytest.mark.parametrize("end", ["end.", "end?", "end!", 'end."', "end.)", "fin…"])
def test_a_sentence_ends_a_caption(end):
    assert texts(spoken(f"the {end} Next")) == [[f"the {end}"], ["Next"]]


@pytest.mark.parametrize("inside", ["Mr.", "M.", "J.", "3.5", "end,"])
def test_other_points_do_not(inside):
    assert len(texts(spoken(f"the {inside} Next"))) == 1


def test_an_arrow_in_the_text_is_no_time_line():
    assert to_srt(spoken("a --> b")).count("-->") == 1
    assert to_vtt(spoken("a --> b")).count("-->") == 1


def any_words(seed):
    """Up to 30 words, some empty, with times in any order."""
    rng = random.Random(seed)
    return [
        Word(
            "".join(rng.choices("aB.?<& \n-é", k=rng.randrange(12))),
            rng.uniform(-1, 30),
            rng.uniform(-1, 30),
        )
        for _ in range(rng.randrange(30))
    ]


@pytest.mark.parametrize("highlight", [False, True])
def test_times_never_overlap_whatever_the_words(highlight):
    for seed in range(200):
        srt = to_srt(any_words(seed), highlight_words=highlight)
        stamps = re.findall(r"(\d+):(\d\d):(\d\d),(\d{3})", srt)
        clock = [((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, ms in stamps]
        assert clock == sorted(clock)
        assert all(start < end for start, end in zip(clock[::2], clock[1::2], strict=True))


def test_every_word_is_shown_once_and_lines_fit():
    for seed in range(200):
        words = any_words(seed)
        cues = captions.cues(words)
        shown = [word.text for cue in cues for word in cue.words]
        assert shown == [" ".join(word.text.split()) for word in words if word.text.strip()]
        for line in (line for cue in cues for line in cue.lines):
            assert len(line) == 1 or len(" ".join(word.text for word in line)) <= 42
        assert all(1 <= len(cue.lines) <= 2 for cue in cues)


TRANSCRIPT = Transcript(
    "Ça va .", [Word("Ça", 0.1234567, 0.5), Word("va .", 0.5, 0.75)], duration=1.5
)


def test_json():
    data = json.loads(to_json(TRANSCRIPT))
    assert data == {
        "text": "Ça va .",
        "duration": 1.5,
        "words": [
            {"text": "Ça", "start": 0.123, "end": 0.5},
            {"text": "va .", "start": 0.5, "end": 0.75},
        ],
    }
    pauses, turns = [Pause(1.04, {0.5: 0.75, 2.0: 0.25})], [EndOfTurn(1.2000001)]
    data = json.loads(to_json(Transcript("", pauses=pauses, turns=turns)))
    assert data["pauses"] == [{"time": 1.04, "probabilities": {"0.5": 0.75, "2": 0.25}}]
    assert data["turns"] == [1.2]


def test_write_takes_the_format_from_the_name(tmp_path):
    assert write(TRANSCRIPT, tmp_path / "talk.vtt") == [tmp_path / "talk.vtt"]
    assert (tmp_path / "talk.vtt").read_text("utf-8") == to_vtt(TRANSCRIPT.words)


def test_write_all(tmp_path):
    paths = write(TRANSCRIPT, tmp_path / "talk.v2", "all")
    names = ["talk.v2.txt", "talk.v2.srt", "talk.v2.vtt", "talk.v2.json"]
    assert [path.name for path in paths] == names
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert (tmp_path / "talk.v2.txt").read_text("utf-8") == "Ça va .\n"


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match=r"talk\.doc.*'doc'.*expected txt, srt, vtt, json or all"):
        write(TRANSCRIPT, tmp_path / "talk.doc")


def test_a_file_is_complete_or_not_there(tmp_path, monkeypatch):
    target = tmp_path / "talk.txt"
    target.write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match=r"No space left on device: .*talk\.txt"):
        write(TRANSCRIPT, target)
    assert os.listdir(tmp_path) == ["talk.txt"]
    assert target.read_text() == "old"


def test_no_such_folder(tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: .*missing/talk\.txt"):
        write(TRANSCRIPT, tmp_path / "missing" / "talk.txt")
