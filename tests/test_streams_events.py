"""What events say: confidence, pauses, ends of turns, and times that never run back."""

import math
from itertools import pairwise

import numpy as np
import pytest
from streaming import RATE, fed, own, pauses, pieces, rest, sound
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import EndOfTurn, Partial, Pause, TurnPolicy, Word
from dsm_mlx.stt.pauses import TurnDetector

LENGTHS = [0.5, 1.0, 2.0, 3.0]
PCM = sound(6.03)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("events")))


@pytest.fixture(scope="module")
def delayed(small):
    """Without pause heads, with a prefix that is no whole number of frames."""
    return dsm_mlx.load_stt(small("stt-tiny-26"))


@pytest.fixture(scope="module", params=["stt", "delayed"])
def model(request):
    return request.getfixturevalue(request.param)


# ---- words


def test_confidence_lies_between_0_and_1(model):
    for options in ({}, {"temperature": 0.9, "seed": 1}):
        words = [event for event in fed(model, PCM, **options) if isinstance(event, Word)]
        assert words and all(0 < word.confidence <= 1 for word in words)
        assert len({word.confidence for word in words}) == len(words)


def test_confidence_is_the_mean_of_the_words_tokens(stt, monkeypatch):
    """Geometric, of the probabilities that the model gave them."""
    push, logs, found = dsm_mlx.stt.words.WordReader.push, [], []

    def noted(self, frame, token, probability=1.0):
        count = len(self.pieces)
        for word in push(self, frame, token, probability):
            found.append((word.confidence, math.exp(np.mean(logs[-count:]))))
            yield word
        if self.pieces:
            logs.append(math.log(probability))

    monkeypatch.setattr(dsm_mlx.stt.words.WordReader, "push", noted)
    fed(stt, PCM)
    assert len(found) > 5
    for confidence, expected in found:
        assert confidence == pytest.approx(expected, abs=1e-4)


def test_confidence_is_in_what_is_saved_and_not_in_what_is_compared(stt):
    result = stt.transcribe(PCM, sample_rate=RATE)
    entry = result.to_dict()["words"][0]
    assert entry["confidence"] == result.words[0].confidence
    assert Word("a", 0, 1, 0.5) == Word("a", 0, 1)


def test_times_never_run_back(model):
    """Words among each other, pauses among each other, and none is after the end of the sound."""
    with model.stream() as stream:
        events = []
        for i, piece in enumerate(pieces(PCM, 1)):
            stream.give(piece)
            if i == 7:
                stream.flush()
            if i == 12:
                stream.reset()
        stream.end()
        events = list(stream)
    for kind in (Pause, Partial, EndOfTurn):
        times = [event.time for event in events if isinstance(event, kind)]
        assert times == sorted(times) and all(0 <= time <= 6.03 for time in times)
    words = [event for event in events if isinstance(event, Word)]
    assert all(0 <= word.start <= word.end <= 6.03 for word in words)
    assert all(
        one.start <= two.start and one.end <= two.start + 1e-9 for one, two in pairwise(words)
    )


# ---- pauses


@pytest.mark.parametrize("frames", [1, 3, 10])
def test_a_pause_for_each_1920_samples(model, frames):
    """Four values, from 0 to 1, at the time when the frame has been heard."""
    found = pauses(fed(model, sound(frames * 0.08)))
    assert len(found) == frames
    for pause in found:
        assert list(pause.probabilities) == LENGTHS
        assert all(type(p) is float and 0 <= p <= 1 for p in pause.probabilities.values())
    steps = np.diff([pause.time for pause in found])
    assert np.allclose(steps[: frames - 2], 0.08)


def test_as_many_pauses_through_flushes_and_resets(model):
    """Silence that the library adds is no pause of the speaker's."""
    with model.stream() as stream:
        for i in range(20):
            stream.give(sound(0.16, i))
            if i % 5 == 4:
                (stream.flush if i % 2 else stream.reset)()
        found = pauses(rest(stream))
    assert len(found) in (40, 41, 42)  # after a flush a frame begins anew
    assert found[-1].time == pytest.approx(3.2)


def test_silence_without_heads_is_told_by_its_level(delayed):
    quiet = np.zeros(3 * RATE, np.float32)
    found = pauses(fed(delayed, np.concatenate([sound(3), quiet, sound(1)])))
    at = {round(pause.time, 2): pause.probabilities for pause in found}
    before, late, after = (
        next(p for time, p in at.items() if time >= wanted) for wanted in (2.5, 5.8, 6.5)
    )
    assert list(before.values()) == list(after.values()) == [0.0] * 4
    assert late[0.5] == late[1.0] == late[2.0] == 1.0 and 0.8 < late[3.0] < 1


# ---- ends of turns


def test_without_a_word_no_turn_ends(delayed):
    assert not any(isinstance(e, EndOfTurn) for e in pushed_silence(delayed))


def pushed_silence(model):
    with model.stream() as stream:
        stream.push(np.zeros(4 * RATE, np.float32))
        return [event for event in rest(stream) if not isinstance(event, Word)]


def ends_of_turns(model, **policy):
    """After 3 s of speech, of which the first words are known 2.5 s later."""
    pcm = np.concatenate([sound(3), np.zeros(round(3.4 * RATE), np.float32)])
    events = fed(model, pcm, **({"turns": TurnPolicy(**policy)} if policy else {}))
    return [event.time for event in events if isinstance(event, EndOfTurn)]


@pytest.mark.parametrize("pause", [0.5, 1.0, 2.0, 3.0])
def test_a_turn_ends_when_the_policy_says(delayed, pause):
    (end,) = ends_of_turns(delayed, pause=pause, threshold=0.9, frames=1)
    assert 3 + 0.9 * pause < end < 3.2 + pause


def test_a_turn_ends_after_as_many_frames_as_the_policy_says(delayed):
    (one,), (four,) = (ends_of_turns(delayed, pause=0.5, frames=n) for n in (1, 4))
    assert four == pytest.approx(one + 3 * 0.08)


def test_the_default_policy(delayed):
    (end,) = ends_of_turns(delayed)
    assert [end] == ends_of_turns(delayed, pause=2.0, threshold=0.5, frames=3, rearm=0.3)


def detected(policy, values, words):
    """At which frames a turn ends, after 13 that do not count; `words`: frames with a word."""
    detector, found = TurnDetector(12.5, policy), []
    for i, value in enumerate([0.0] * 13 + values):
        if i - 13 in words:
            detector.word()
        if detector.push({policy.pause: value}):
            found.append(i - 13)
    return found


@pytest.mark.parametrize(
    "policy, values, words, ends",
    [
        (TurnPolicy(frames=1), [0, 0.6], [0], [1]),
        (TurnPolicy(frames=1), [0, 0.5], [0], []),  # above the threshold, not at it
        (TurnPolicy(frames=3), [0, 0.6, 0.6, 0.6, 0.6], [0], [3]),
        (TurnPolicy(frames=3), [0, 0.6, 0.6, 0, 0.6, 0.6, 0.6], [0], [6]),
        (TurnPolicy(frames=1), [0, 0.6, 0.6], [], []),
        (TurnPolicy(frames=1), [0, 0.6, 0, 0.6], [0], [1]),  # no word since
        (TurnPolicy(frames=1), [0, 0.6, 0, 0.6], [0, 2], [1, 3]),
        (TurnPolicy(frames=1), [0, 0.6, 0.4, 0.6], [0, 2], [1]),  # it has not fallen
        (TurnPolicy(frames=1, rearm=0.45), [0, 0.6, 0.4, 0.6], [0, 2], [1, 3]),
        (TurnPolicy(frames=1, threshold=0.0), [0, 0.01], [0], [1]),
        (TurnPolicy(frames=1, threshold=1.0), [0, 1.0], [0], []),
    ],
)
def test_when_a_turn_ends(policy, values, words, ends):
    assert detected(policy, values, words) == ends


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"pause": 1.5}, ValueError, r"pause is 1.5 \(expected one of \(0.5, 1.0, 2.0, 3.0\)"),
        ({"threshold": 1.1}, ValueError, r"threshold is 1.1 \(expected .*0 to 1"),
        ({"threshold": "high"}, (ValueError, TypeError), r"threshold is 'high' \(expected"),
        ({"rearm": float("nan")}, ValueError, "rearm is nan"),
        ({"frames": 0}, ValueError, r"frames is 0 \(expected"),
        ({"frames": 2.5}, (ValueError, TypeError), "frames is 2.5"),
    ],
)
def test_a_policy_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        TurnPolicy(**options)
