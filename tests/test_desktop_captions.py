"""What a captions window shows, copies and saves, without a window."""

import json

import pytest

from dsm_mlx import EndOfTurn, Partial, Pause, Word
from dsm_mlx.captions import to_srt, to_vtt
from dsm_mlx.desktop.captions import LONG, LONGEST, Captions, stamp


def words(text, start=0.0):
    """Half a second each."""
    return [Word(t, start + i / 2, start + i / 2 + 0.4) for i, t in enumerate(text.split())]


def taken(*events, began=100.0):
    captions = Captions()
    captions.begin(began)
    for event in events:
        captions.take(event)
    return captions


def texts(captions):
    return [paragraph.text for paragraph in captions.paragraphs]


def test_words_are_settled_and_the_one_in_progress_is_not():
    captions = taken(*words("the bus"), Partial("wa", 1.0))
    (paragraph,) = captions.paragraphs
    assert (paragraph.text, paragraph.going, paragraph.mark) == ("the bus", "wa", "")
    assert captions.text == "the bus\n"
    captions.take(Word("was", 1.0, 1.4))
    assert (paragraph.text, paragraph.going) == ("the bus was", "")


def test_a_word_that_comes_to_nothing_is_taken_back():
    captions = taken(Partial("th", 0.5), Partial("", 1.0))
    assert captions.text == "" and captions.paragraphs[0].going == ""


def test_the_end_of_a_turn_is_a_pause_whose_length_the_next_word_tells():
    captions = taken(*words("the bus"), Pause(2.0, {0.5: 1.0}), EndOfTurn(2.5))
    assert [paragraph.mark for paragraph in captions.paragraphs] == ["pause"]
    captions.take(Partial("wa", 3.8))
    assert captions.paragraphs[0].mark == "pause"
    captions.take(Word("was", 4.0, 4.4))
    assert [paragraph.mark for paragraph in captions.paragraphs] == ["pause, 3.1 s", ""]
    assert texts(captions) == ["the bus", "was"]


def test_an_end_without_words_is_no_pause():
    captions = taken(EndOfTurn(2.0))
    assert captions.paragraphs == []
    captions.take(Partial("th", 2.5))
    captions.take(EndOfTurn(3.0))
    captions.take(Word("the", 3.5, 3.7))
    assert len(captions.paragraphs) == 1


def test_who_never_pauses_gets_paragraphs_all_the_same():
    sentence = "a b c d e f g h i."  # nine words
    captions = taken(*words(" ".join([sentence] * 8)))
    assert [len(p.words) for p in captions.paragraphs] == [63, 9]
    assert all(not p.mark for p in captions.paragraphs) and LONG == 60
    captions = taken(*words("a " * (LONGEST + 1)))
    assert [len(p.words) for p in captions.paragraphs] == [LONGEST, 1]


def test_times_go_on_from_one_stream_to_the_next():
    captions = taken(*words("the bus"), began=100.0)
    captions.end()
    captions.begin(160.0)
    captions.take(Word("was", 1.0, 1.4))
    assert [word.start for word in captions.transcript.words] == [0.0, 0.5, 61.0]
    assert [p.mark for p in captions.paragraphs] == ["pause, 60.1 s", ""]


def test_after_clearing_times_count_from_then():
    captions = taken(*words("the bus"), EndOfTurn(2.0), began=100.0)
    captions.clear(now=110.0)
    assert captions.paragraphs == [] and captions.transcript.turns == []
    captions.take(Word("was", 11.0, 11.4))
    assert [(w.start, w.end) for w in captions.transcript.words] == [(1.0, 11.4 - 10)]
    captions.clear()
    captions.begin(500.0)
    captions.take(Word("late", 2.0, 2.4))
    assert captions.transcript.words[0].start == 2.0


def test_a_word_from_before_clearing_begins_at_nothing():
    captions = taken(began=100.0)
    captions.clear(now=110.0)
    captions.take(Word("was", 9.0, 9.4))
    assert [(w.start, w.end) for w in captions.transcript.words] == [(0.0, 0.0)]


def test_files(tmp_path):
    captions = taken(*words("the bus"), EndOfTurn(2.5), Word("late", 4.0, 4.5))
    said = captions.transcript.words
    captions.save(tmp_path / "a.txt")
    captions.save(tmp_path / "a.SRT")
    captions.save(tmp_path / "a.vtt")
    captions.save(tmp_path / "a.json")
    assert (tmp_path / "a.txt").read_text() == "the bus\nlate\n"
    assert (tmp_path / "a.SRT").read_text() == to_srt(said)
    assert (tmp_path / "a.vtt").read_text() == to_vtt(said)
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["text"], found["turns"], found["duration"]) == ("the bus late", [2.5], 4.5)
    with pytest.raises(ValueError, match=r"a\.doc"):
        captions.save(tmp_path / "a.doc")
    with pytest.raises(OSError, match="nowhere"):
        captions.save(tmp_path / "nowhere" / "a.txt")


@pytest.mark.parametrize(
    "seconds, shown", [(0.9, "0:00"), (7, "0:07"), (760, "12:40"), (3723.5, "1:02:03")]
)
def test_a_time_to_be_read(seconds, shown):
    assert stamp(seconds) == shown
