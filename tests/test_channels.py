"""Who speaks, by channel: each channel of a recording is a row, and its words have its name."""

import io
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

import dsm_mlx
from dsm_mlx import EndOfTurn, Word
from dsm_mlx.audio import read

DEMOS = Path(__file__).parents[1] / "demos/audio"
RATE = 24_000
LATER = 1.0  # seconds by which the second speaker begins later, while the first one speaks


@pytest.fixture(scope="module")
def stt():
    return dsm_mlx.load_stt("tiny")


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Two people, each in a channel, who speak at the same time."""
    ann, bob = (read(DEMOS / name) for name in ("bus.wav", "kitchen.wav"))
    bob = np.concatenate([np.zeros(round(LATER * RATE), np.float32), bob])
    pcm = np.zeros((max(len(ann), len(bob)), 2), np.float32)
    pcm[: len(ann), 0], pcm[: len(bob), 1] = ann, bob
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, pcm, RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def alone(stt, talk):
    """What is heard of each channel as a file of its own."""
    pcm, _ = soundfile.read(talk, dtype="float32")
    return [stt.transcribe(pcm[:, k].copy(), sample_rate=RATE) for k in (0, 1)]


@pytest.mark.thorough
def test_two_who_speak_at_once_are_heard_apart(stt, talk, alone):
    heard = stt.transcribe(talk, channels="split", speakers=["Ann", "Bob"])
    for name, one in zip(("Ann", "Bob"), alone, strict=True):
        own = [w for w in heard.words if w.speaker == name]
        assert [(w.text, w.start, w.end) for w in own] == [
            (w.text, w.start, w.end) for w in one.words
        ]
        turns = [turn.time for turn in heard.turns if turn.speaker == name]
        assert turns == [turn.time for turn in one.turns]
        assert sum(pause.speaker == name for pause in heard.pauses) == len(one.pauses)
    assert len(heard.words) == sum(len(one.words) for one in alone)
    starts = [word.start for word in heard.words]
    assert starts == sorted(starts) and heard.duration == alone[0].duration
    said = {k: DEMOS.joinpath(f"{k}.txt").read_text().lower() for k in ("bus", "kitchen")}
    for name, text in zip(("Ann", "Bob"), said.values(), strict=True):
        own = {w.text for w in heard.words if w.speaker == name}
        expected = set(re.findall(r"[a-z']+", text))
        assert len(own & expected) >= 0.8 * len(expected)
    first = {name: next(w for w in heard.words if w.speaker == name) for name in ("Ann", "Bob")}
    assert first["Bob"].start < max(w.end for w in heard.words if w.speaker == "Ann")
    assert heard.text.splitlines()[0].startswith("Ann: ")
    assert [line.partition(": ")[0] for line in heard.text.splitlines()][:2] == ["Ann", "Bob"]


@pytest.mark.thorough
def test_captions_of_two_overlap(stt, talk):
    srt = stt.transcribe(talk, channels="split").to_srt()
    blocks = re.findall(r"(\S+) --> (\S+)\n(channel \d)", srt)
    assert {name for *_, name in blocks} == {"channel 1", "channel 2"}
    assert any(b[0] < a[1] and a[2] != b[2] for a, b in pairwise(blocks))


@pytest.mark.thorough
def test_any_source_and_any_number_of_rows(stt, talk):
    """A stream comes once and an array is in memory; one row after another hears the same."""
    expected = stt.transcribe(talk, channels="split")
    pcm, _ = soundfile.read(talk, dtype="float32")
    assert stt.transcribe(pcm, sample_rate=RATE, channels="split") == expected
    assert stt.transcribe(io.BytesIO(talk.read_bytes()), channels="split") == expected
    with dsm_mlx.load_stt("tiny", max_streams=1, dtype="float32", cache="float32") as narrow:
        assert narrow.transcribe(talk, channels="split").words == expected.words


@pytest.mark.thorough
def test_a_list_with_one_of_a_single_channel(stt, talk):
    mono = DEMOS / "bus.wav"
    one, two = stt.transcribe([mono, talk], channels="split", speakers=["Ann"], batch=2)
    assert {word.speaker for word in one.words} == {"Ann"}
    assert [w.text for w in one.words] == stt.transcribe(mono).text.split()
    assert {word.speaker for word in two.words} == {"Ann", "channel 2"}


@pytest.mark.thorough
def test_progress_and_events_are_of_the_recording(stt, talk):
    parts = list(stt.transcribe_events([talk], channels="split"))
    assert {part.index for part in parts} == {0}
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    duration = soundfile.info(talk).duration
    assert sum(part.seconds for part in parts) == pytest.approx(duration)
    events = [event for part in parts for event in part.events]
    assert {e.speaker for e in events if isinstance(e, Word | EndOfTurn)} == {
        "channel 1",
        "channel 2",
    }


@pytest.mark.thorough
def test_one_that_cannot_be_read_ends_alone(stt, talk, tmp_path):
    pcm, _ = soundfile.read(talk, dtype="float32")
    pcm[3 * RATE, 1] = np.nan
    soundfile.write(tmp_path / "bad.wav", pcm, RATE, "FLOAT")
    files = [tmp_path / "bad.wav", tmp_path / "missing.wav", talk]
    errors = {}
    for part in stt.transcribe_events(files, channels="split", batch=3):
        if part.last:
            assert part.index not in errors
            errors[part.index] = str(part.error)
    assert "NaN" in errors[0] and "no such file" in errors[1] and errors[2] == "None"
    assert stt.stats()["streams"] == 0


def test_times_stay_those_of_the_file(stt):
    """From 1 s on, with what was said before left out; the same as of the sound that is cut."""
    file, start = DEMOS / "kitchen.wav", 1.04
    pcm = read(file)
    cut = stt.transcribe(pcm[round(start * RATE) : 3 * RATE], sample_rate=RATE)
    heard = stt.transcribe(file, start=start, end=3)
    assert [w.text for w in heard.words] == [w.text for w in cut.words] and heard.words
    assert [w.start for w in heard.words] == pytest.approx([w.start + start for w in cut.words])
    assert [w.end for w in heard.words] == pytest.approx([w.end + start for w in cut.words])
    assert heard.duration == pytest.approx(3) and heard.pauses[0].time == pytest.approx(1.12)
    assert all(start <= word.start < 3 for word in heard.words)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"channels": "left"}, ValueError, "channels is 'left'"),
        ({"channels": 2}, ValueError, "channels is 2"),
        ({"speakers": ["A"]}, ValueError, r'expected with channels="split"'),
        ({"channels": "split", "speakers": "AB"}, TypeError, "speakers is 'AB'"),
        ({"channels": "split", "speakers": [1]}, TypeError, "the name of a speaker is 1"),
        ({"track": 0}, ValueError, "track is 0"),
        ({"start": 3, "end": 2}, ValueError, "end is 2"),
        ({"start": "1:00"}, TypeError, "start is '1:00'"),
    ],
)
def test_what_cannot_be_is_named(stt, options, error, said):
    with pytest.raises(error, match=said):
        stt.transcribe(DEMOS / "bus.wav", **options)
