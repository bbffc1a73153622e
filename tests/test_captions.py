"""Captions: golden files, the rules of style, and times that hold for any words."""

import json
import os
import random
import re
import warnings

import numpy as np
import pytest

from dsm_mlx import captions
from dsm_mlx.captions import CaptionStyle, cues, render, to_json, to_srt, to_txt, to_vtt, write
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


@pytest.mark.parametrize(
    "end", ["end.", "end?", "end!", 'end."', "end.)", "what...?", "1990.", "No."]
)
def test_a_sentence_ends_a_caption(end):
    assert texts(spoken(f"the {end} Next")) == [[f"the {end}"], ["Next"]]


@pytest.mark.parametrize(
    "inside",
    [
        *("Mr.", "M.", "J.", "J.-P.", "U.S.", "U.S.A.", "(U.S.)", "e.g.", "i.e.", "a.m.", "Ph.D."),
        *("etc.", "ETC.", "vs.", '"Dr.', "St.", "Jr.", "Inc.", "Mme."),
        *("3.5", "end,", "fin…", "well...", "No. 5", "Fig. 2", "Jan. 3", "3. 5"),
    ],
)
def test_other_points_do_not(inside):
    assert len(texts(spoken(f"the {inside} Next"))) == 1


def test_a_short_sentence_shares_its_caption_with_the_next():
    assert texts(spoken("Yes. I do. Really.")) == [["Yes. I do."], ["Really."]]
    paused = [Word("Yes.", 0, 0.3), Word("I", 0.8, 1), Word("do.", 1, 1.3)]
    assert texts(paused) == [["Yes."], ["I do."]]
    assert texts(spoken("Yes. I do."), min_duration=0) == [["Yes."], ["I do."]]


@pytest.mark.parametrize("arrow", ["-->", "--->", "-------->>", "a-->b", "--\x00>", "--\n>"])
@pytest.mark.parametrize("highlight", [False, True])
def test_an_arrow_in_the_text_is_no_time_line(arrow, highlight):
    words = [Word(arrow, 0, 1)]
    assert to_srt(words, highlight_words=highlight).count("-->") == 1
    assert to_vtt(words, highlight_words=highlight).count("-->") == 1


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


def times(srt):
    """(start, end) of every caption, in milliseconds."""
    stamps = re.findall(r"(\d+):(\d\d):(\d\d),(\d{3})", srt)
    clock = [((int(h) * 60 + int(m)) * 60 + int(s)) * 1000 + int(ms) for h, m, s, ms in stamps]
    return list(zip(clock[::2], clock[1::2], strict=True))


@pytest.mark.parametrize(("highlight", "least"), [(False, 800), (True, 40)])
def test_times_last_and_never_overlap_whatever_the_words(highlight, least):
    for seed in range(200):
        spans = times(to_srt(any_words(seed), highlight_words=highlight))
        clock = [time for span in spans for time in span]
        assert clock == sorted(clock)
        assert all(end - start >= least for start, end in spans)


def test_what_ends_too_soon_stays():
    words = [Word("one", 1, 1.08), Word("two", 2.5, 2.58), Word("three", 4, 6)]
    assert times(to_srt(words)) == [(1000, 1800), (2500, 3300), (4000, 6000)]
    style = CaptionStyle(min_duration=2)
    assert times(to_srt(words, style=style)) == [(1000, 3000), (3000, 5000), (5000, 7000)]
    style = CaptionStyle(min_duration=2, max_duration=1)
    assert times(to_srt(words, style=style)) == [(1000, 2000), (2500, 3500), (4000, 6000)]


def test_a_word_that_ends_late_makes_nothing_late():
    words = [Word("one", 0, 5), Word("two", 4, 6), Word("three", 7, 8)]
    assert times(to_srt(words, style=CaptionStyle(max_chars=5, max_lines=1))) == [
        (0, 4000), (4000, 6000), (7000, 8000),
    ]  # fmt: skip


def test_words_that_all_begin_at_once():
    for highlight in (False, True):
        spans = times(to_srt(spoken("a b c " * 30, length=0), highlight_words=highlight))
        assert all(end - start >= 40 for start, end in spans)
        assert spans[-1][1] == 42 * 40 + 42 * 40 + 800  # two full captions and one of six words


def test_a_highlighted_caption_lasts_as_long_as_a_plain_one():
    words = [Word("one", 1, 1.08), Word("two", 1.08, 1.16)]
    assert times(to_srt(words)) == [(1000, 1800)]
    assert times(to_srt(words, highlight_words=True)) == [(1000, 1080), (1080, 1800)]


def test_times_beyond_a_hundred_hours():
    words = [Word("late", 360_000.5, 360_002)]
    assert "100:00:00,500 --> 100:00:02,000" in to_srt(words)
    assert "100:00:00.500 --> 100:00:02.000" in to_vtt(words)


def test_numbers_of_other_libraries_are_times():
    words = [Word("a", np.float32(0.5), np.float64(2)), Word("b", np.int64(2), 3)]
    assert times(to_srt(words)) == [(500, 3000)]


@pytest.mark.parametrize("time", [float("nan"), float("inf"), None, "soon"])
def test_a_time_that_is_none_is_named(time, tmp_path):
    words = [Word("hello", 0, time)]
    for make in (to_srt, to_vtt):
        with pytest.raises(ValueError, match=r"the end of 'hello' is .*expected seconds"):
            make(words)
    with pytest.raises(ValueError, match="the end of 'hello'"):
        write(Transcript("hello", words), tmp_path / "a", "all")
    assert os.listdir(tmp_path) == []
    assert to_txt(words) == "hello\n"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        *(("max_chars", 0), ("max_chars", 4.5), ("max_lines", True), ("gap", -1)),
        *(("max_duration", float("nan")), ("min_duration", "1 s")),
    ],
)
def test_a_style_that_cannot_be(argument, value):
    with pytest.raises(ValueError, match=f"{argument} is {value!r} .expected"):
        CaptionStyle(**{argument: value})


def test_the_old_name_of_the_style():
    with pytest.warns(DeprecationWarning, match="CaptionStyle"):
        assert captions.Layout is CaptionStyle
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not hasattr(captions, "Layouts")


def test_a_word_is_one_line_of_text_whatever_is_in_it():
    """Line ends and control characters would end a caption, half characters stop its writing."""
    word = Word("\ufeffa\n\nb\x00c\x1b\r\u2028d\x85 \ud83d\ude00\udc80", 0, 1)
    for text in (to_srt([word]), to_vtt([word]), to_txt([word])):
        assert "a bc d 😀\ufffd\n" in text and "\ufeff" not in text
        assert text.encode("utf-8")
    assert to_srt([Word("\x00\n", 0, 1)]) == ""
    assert json.loads(to_json(Transcript("\udc80", [word])))["text"] == "\ufffd"


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


def test_json_is_json_whatever_the_numbers():
    nan = float("nan")
    words = [Word("a", np.float32(0.5), np.float64(nan), np.float32(0.25)), Word("b", -np.inf, 1)]
    pauses = [Pause(np.float32(1), {np.float32(0.5): np.float32(nan), 1.0: np.float16(0.5)})]
    transcript = Transcript("a b", words, pauses, [EndOfTurn(nan)], np.float32(2))

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    data = json.loads(to_json(transcript), parse_constant=refuse)
    assert data == {
        "text": "a b",
        "duration": 2.0,
        "words": [
            {"text": "a", "start": 0.5, "end": None, "confidence": 0.25},
            {"text": "b", "start": None, "end": 1.0},
        ],
        "turns": [None],
        "pauses": [{"time": 1.0, "probabilities": {"0.5": None, "1": 0.5}}],
    }
    with pytest.raises(TypeError, match=r"'soon' in a transcript .expected a number"):
        to_json(Transcript("a", [Word("a", "soon", 1)]))


@pytest.mark.parametrize("style", ["wide", np.ones(3), 0, CaptionStyle])
@pytest.mark.parametrize("name", ["to_srt", "to_vtt"])
def test_what_is_no_style_is_refused(name, style):
    transcript = Transcript("one", [Word("one", 0.0, 0.5)], 1.0)
    with pytest.raises(TypeError, match=r"style is .*expected a CaptionStyle"):
        getattr(transcript, name)(style=style)
    with pytest.raises(TypeError, match=r"highlight_words is .*expected True or False"):
        getattr(transcript, name)(highlight_words=style)


@pytest.mark.parametrize(
    "words", [None, 1.5, len, np.array(1.0), ["one"], "one two", [{"text": "one"}]]
)
@pytest.mark.parametrize("make", [cues, to_txt, to_srt, to_vtt])
def test_what_are_no_words_is_refused(make, words):
    with pytest.raises(TypeError, match=r"expected (an iterable of|a) Word"):
        make(words)
    with pytest.raises(TypeError, match=r"the text of a word is 7 .expected str"):
        make([Word(7, 0.0, 1.0)])


@pytest.mark.parametrize("value", [None, "one", {"text": "one"}, [Word("one", 0.0, 1.0)]])
def test_what_is_no_transcript_is_refused(tmp_path, value):
    for make in (to_json, lambda t: render(t, "srt"), lambda t: write(t, tmp_path / "a.vtt")):
        with pytest.raises(TypeError, match=r"transcript is .*expected a Transcript"):
            make(value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", [7, np.ones(2), b"srt", ["srt"]])
def test_what_is_no_name_of_a_format_is_refused(tmp_path, format):
    with pytest.raises(TypeError, match=r"format is .*expected str"):
        render(Transcript(""), format)
    with pytest.raises(TypeError, match=r"format is .*expected str"):
        write(Transcript(""), tmp_path / "a.srt", format)


def test_a_time_beyond_all_floats():
    word = Word("one", 0, 10**400)
    with pytest.raises(ValueError, match=r"the end of 'one' is 1000.*expected seconds"):
        to_srt([word])
    assert Transcript("one", [word]).to_dict()["words"][0]["end"] is None
