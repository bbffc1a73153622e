"""tools/calibrate.py: its figures against what is known, and the command as users run it."""

import json
from itertools import pairwise

import calibrate
import numpy as np
import pytest
from evaluation import confidence, talks, turns
from evaluation.talks import Turn
from speech import libraries

import dsm_mlx
from dsm_mlx import EndOfTurn, Pause, TurnPolicy, Word

SYNTHESIZERS = pytest.mark.skipif(
    not libraries.available(), reason="needs the libraries of espeak-ng and flite"
)


def heard(text):
    return [Word(word, i, i + 1, 0.5) for i, word in enumerate(text.split())]


@pytest.mark.parametrize(
    "expected, said, right",
    [
        ("the cat sat", "the cat sat", [1, 1, 1]),
        ("The cat's hat.", "the cat's bat", [1, 1, 0]),
        ("the cat sat", "the big cat", [1, 0, 1]),
        ("the cat sat", "sat", [1]),
        ("a b c d", "b c d a", [1, 1, 1, 0]),
        ("", "noise", [0]),
        ("the cat", "", []),
    ],
)
def test_words_are_right_where_they_stand_in_the_text(expected, said, right):
    judged = confidence.judge(expected, heard(said))
    assert [word.right for word in judged] == right


def test_bins_and_calibration():
    judged = [confidence.Judged(*word) for word in [(0.5, 1), (0.6, 0), (0.99, 1), (1.0, 1)]]
    rows = confidence.bins(judged)
    assert [row["words"] for row in rows] == [0, 2, 0, 0, 0, 0, 2]
    assert rows[0]["right"] is None and rows[1]["right"] == 0.5 and rows[6]["right"] == 1
    whole = confidence.summary(judged)
    assert whole["right"] == 0.75 and whole["words"] == 4
    assert whole["errors"][0] == pytest.approx((2 * 0.05 + 2 * 0.005) / 4)
    # Of the squares, 0.25 and 0.36 are in the first bin, 0.98 in the last but one.
    assert whole["errors"][1] == pytest.approx((0.39 + (1 - 0.99**2)) / 4)
    assert confidence.summary([])["errors"] == [None] * 3


def test_ends_of_turns_are_right_once_and_after_the_last_word():
    known = [Turn(1.0, 4.0, 6.5), Turn(6.5, 9.0, 11.5)]
    found = turns.figures([(known, [2.0, 3.9, 4.8, 6.0]), (known, [9.5])])
    assert (found["turns"], found["told"], found["delay"]) == (4, 5, pytest.approx(0.65))
    assert (found["precision"], found["recall"], found["cut"]) == (0.4, 0.5, 0.25)
    assert turns.figures([(known, [])])["precision"] is None


def test_policies_are_named_as_they_are_written():
    names = [turns.name_of(policy) for policy in turns.POLICIES]
    assert [eval(name, {"TurnPolicy": TurnPolicy}) for name in names] == list(turns.POLICIES)
    assert names[:2] == ["TurnPolicy()", "TurnPolicy(frames=1)"]


@SYNTHESIZERS
@pytest.mark.parametrize("kind", talks.KINDS)
def test_turns_lie_where_the_sound_is(kind, monkeypatch):
    monkeypatch.setattr(talks, "TURNS", 2)
    talk = talks.turns(kind, 3, 2.5)
    seconds = talk.pcm.size / 24_000
    assert len(talk.turns) == 2 and talk.turns[-1].until == pytest.approx(seconds, abs=0.001)
    level = np.sqrt((talk.pcm[: talk.pcm.size // 480 * 480].reshape(-1, 480) ** 2).mean(1))
    for turn in talk.turns:
        inside, after = (
            level[round(start * 50) : round(end * 50)].mean()
            for start, end in ((turn.start, turn.end), (turn.end + 0.2, turn.until - 0.1))
        )
        assert inside > 5 * after
        words = [word for word in talk.words if turn.start <= word.start < turn.end]
        gaps = [b.start - a.end for a, b in pairwise(words)]
        assert any(gap >= 0.3 for gap in gaps) and max(gaps) <= 1.21


@SYNTHESIZERS
def test_another_policys_ends_are_those_of_a_stream_with_it():
    stt, policy = dsm_mlx.load_stt("tiny"), TurnPolicy(pause=0.5, frames=1)
    pcm = talks.sentence("known voices", 5).pcm
    pcm = np.concatenate([pcm, np.zeros(24_000, np.float32)])
    with stt.stream(turns=policy) as stream:
        events = stream.feed(pcm)
    told = [event.time for event in events if isinstance(event, EndOfTurn)]
    plain = [event for event in events if isinstance(event, Word | Pause)]
    assert told and turns.ends(plain, policy, stt.frame_rate) == told


@pytest.mark.thorough
@SYNTHESIZERS
def test_the_command_prints_tables_and_json(capsys, monkeypatch):
    monkeypatch.setattr(talks, "TURNS", 1)
    monkeypatch.setattr(talks, "KINDS", ("digits",))
    monkeypatch.setattr(talks, "CONDITIONS", {"new voices": ("new voice", None)})
    assert calibrate.main(["--count", "1", "--only", "confidence"]) == 0
    out = capsys.readouterr().out
    assert "| 0.99 to 1 " in out and "| new voices " in out and "recall" not in out
    turns_only = ["--count", "1", "--only", "turns", "--silence", "1.3", "--json"]
    assert calibrate.main(turns_only) == 0
    result = json.loads(capsys.readouterr().out)
    assert len(result["turns"]) == len(turns.POLICIES) and "confidence" not in result
    assert {row["turns"] for row in result["turns"]} == {1}


@pytest.mark.parametrize("args", [["--count", "0"], ["--silence", "1"], ["--only", "words"]])
def test_what_cannot_be_measured_is_refused(args, capsys):
    with pytest.raises(SystemExit) as stopped:
        calibrate.main(args)
    assert stopped.value.code == 2 and "error: argument" in capsys.readouterr().err
