"""Who speaks, and how sure it is, in captions: golden files, widths, and times that overlap."""

import json
import random
import re

import pytest

from dsm_mlx import captions
from dsm_mlx.captions import CaptionStyle, cues, to_json, to_srt, to_txt, to_vtt, turns
from dsm_mlx.results import EndOfTurn, Pause, Transcript, Word


def said(speaker, text, start, length=0.4):
    return [
        Word(word, start + i * length, start + (i + 1) * length, speaker=speaker)
        for i, word in enumerate(text.split())
    ]


# Bob's "mhm" lies within what Ann says, and his answer begins before she has ended.
TALK = sorted(
    [
        *said("Ann", "Shall we go to <Rome> & back?", 0.5),
        *said("Bob", "mhm", 1.5),
        *said("Bob", "Yes, gladly.", 3.0),
        *said("Ann", "Good.", 5.0),
    ],
    key=lambda word: word.start,
)

SRT = """\
1
00:00:00,500 --> 00:00:03,300
Ann: Shall we go to <Rome> & back?

2
00:00:01,500 --> 00:00:02,300
Bob: mhm

3
00:00:03,000 --> 00:00:03,800
Bob: Yes, gladly.

4
00:00:05,000 --> 00:00:05,800
Ann: Good.
"""

VTT = """\
WEBVTT

00:00:00.500 --> 00:00:03.300
<v Ann>Shall we go to &lt;Rome&gt; &amp; back?

00:00:01.500 --> 00:00:02.300
<v Bob>mhm

00:00:03.000 --> 00:00:03.800
<v Bob>Yes, gladly.

00:00:05.000 --> 00:00:05.800
<v Ann>Good.
"""

TXT = """\
Ann: Shall we go to <Rome> & back?
Bob: mhm Yes, gladly.
Ann: Good.
"""

DOUBTFUL = """\
WEBVTT

STYLE
::cue(.low) { color: #ff7070 }
::cue(.medium) { color: #ffd070 }

00:00:00.000 --> 00:00:00.500
<u><c.low>one</c></u> <c.medium>two</c> three four

00:00:00.500 --> 00:00:01.000
<c.low>one</c> <u><c.medium>two</c></u> three four

00:00:01.000 --> 00:00:01.500
<c.low>one</c> <c.medium>two</c> <u>three</u> four

00:00:01.500 --> 00:00:02.000
<c.low>one</c> <c.medium>two</c> three <u>four</u>
"""


@pytest.mark.parametrize(("make", "golden"), [(to_srt, SRT), (to_vtt, VTT), (to_txt, TXT)])
def test_golden_speakers(make, golden):
    assert make(TALK) == golden


def test_golden_doubts():
    sure = [0.69, 0.7, 0.9, None]
    texts = ["one", "two", "three", "four"]
    words = [Word(texts[i], i / 2, i / 2 + 0.5, sure[i]) for i in range(4)]
    assert to_vtt(words, confidence=True, highlight_words=True) == DOUBTFUL
    assert "<c" not in to_vtt(words) and "STYLE" not in to_vtt(words)
    assert captions.render(Transcript("", words), "vtt", confidence=True).count("<c.low>") == 1


def test_highlights_of_two_who_speak_at_once():
    """Each caption goes its own way; together they come in the order of time."""
    words = [*said("A", "one two", 0.0, 1.0), *said("B", "three four", 0.5, 1.0)]
    assert to_srt(words, highlight_words=True).split("\n\n") == [
        "1\n00:00:00,000 --> 00:00:01,000\nA: <u>one</u> two",
        "2\n00:00:00,500 --> 00:00:01,500\nB: <u>three</u> four",
        "3\n00:00:01,000 --> 00:00:02,000\nA: one <u>two</u>",
        "4\n00:00:01,500 --> 00:00:02,500\nB: three <u>four</u>\n",
    ]


def test_a_name_counts_as_a_part_of_its_line():
    words = said("Ann", "aaa bbb ccc", 0.0, 0.1)
    lines = [[" ".join(w.text for w in line) for line in cue.lines] for cue in cues(words, NARROW)]
    assert lines == [["aaa", "bbb ccc"]]  # "Ann: aaa bbb" has 12 characters
    assert all(len(line) <= 11 for line in to_srt(words, style=NARROW).splitlines()[2:])


NARROW = CaptionStyle(max_chars=11)


def test_a_name_is_a_part_of_one_line_whatever_is_in_it():
    word = Word("hi", 0, 1, speaker="A\n<b> & -->\x00")
    assert "<v A &lt;b&gt; &amp; --&gt;>hi\n" in to_vtt([word])
    assert to_srt([word]).count("-->") == 1 and "\nA <b> & ->: hi\n" in to_srt([word])
    assert to_txt([word]) == "A <b> & -->: hi\n"
    assert to_txt([Word("hi", 0, 1, speaker=" \n")]) == "hi\n"
    with pytest.raises(TypeError, match=r"the speaker of a word is 7 .expected str"):
        to_srt([Word("hi", 0, 1, speaker=7)])


def any_talk(seed):
    rng = random.Random(seed)
    starts = sorted(rng.uniform(0, 30) for _ in range(rng.randrange(40)))
    texts = "a", "bb.", "c" * 9
    return [
        Word(rng.choice(texts), at, at + rng.uniform(0, 2), speaker=rng.choice("ABC"))
        for at in starts
    ]


@pytest.mark.parametrize("highlight", [False, True])
def test_each_speaker_has_the_captions_of_a_speaker_alone(highlight):
    """So nothing that somebody else says moves, cuts or delays them."""
    for seed in range(50):
        words = any_talk(seed)
        together = _blocks(to_srt(words, highlight_words=highlight))
        assert [start for start, _ in together] == sorted(start for start, _ in together)
        alone = []
        for name in "ABC":
            own = [word for word in words if word.speaker == name]
            alone += _blocks(to_srt(own, highlight_words=highlight))
        assert sorted(together) == sorted(alone)


def _blocks(srt):
    return re.findall(r"(\S+) --> (.*\n(?:.+\n)+)", srt)


def texts_of(found):
    return [" ".join(word.text for word in turn) for turn in found]


@pytest.mark.parametrize("gap", [-1, float("nan"), "long", None])
def test_a_gap_that_cannot_be(gap):
    with pytest.raises(ValueError, match=r"gap is .* \(expected seconds from 0 up\)"):
        turns(said("A", "a b", 0.0), gap)


def test_turns_keep_together_what_was_said_without_a_silence():
    words = [*said("A", "a b c d e", 0.0), *said("B", "x", 0.5), *said("A", "f", 2.7)]
    assert texts_of(turns(words)) == ["a b c d e f", "x"]
    later = [*said("A", "a", 0.0), *said("B", "x", 0.9), *said("A", "b", 1.6)]
    assert texts_of(turns(later)) == ["a", "x", "b"]
    # nobody else began between
    assert len(turns([*said("A", "a", 0.0), *said("A", "b", 9.0)])) == 1
    for seed in range(20):
        talk = any_talk(seed)
        assert sorted((w.text, w.start) for turn in turns(talk) for w in turn) == sorted(
            (w.text, w.start) for w in talk
        )


def test_speakers_as_json():
    heard = Transcript(
        "A: hi",
        said("A", "hi", 0.0),
        [Pause(0.08, {0.5: 0.25}, "A")],
        [EndOfTurn(1.5, "A"), EndOfTurn(2.0)],
        2.0,
    )
    assert json.loads(to_json(heard)) == {
        "text": "A: hi",
        "duration": 2.0,
        "words": [{"text": "hi", "start": 0.0, "end": 0.4, "speaker": "A"}],
        "turns": [{"time": 1.5, "speaker": "A"}, 2.0],
        "pauses": [{"time": 0.08, "probabilities": {"0.5": 0.25}, "speaker": "A"}],
    }


def test_words_of_others_are_others():
    assert Word("a", 0, 1, speaker="A") != Word("a", 0, 1) != Word("a", 0, 1, speaker="B")
    assert Word("a", 0, 1).speaker is None


def test_a_transcript_passes_its_doubts_on(tmp_path):
    heard = Transcript("one", [Word("one", 0, 1, 0.1)])
    heard.save(tmp_path / "a.vtt", confidence=True)
    assert (tmp_path / "a.vtt").read_text() == heard.to_vtt(confidence=True)
    assert "<c.low>one</c>" in heard.to_vtt(confidence=True)
    with pytest.raises(TypeError, match=r"confidence is 1 .expected True or False"):
        heard.to_vtt(confidence=1)
