"""How fast a text is said, and how much of it at most."""

import asyncio
import itertools
import logging

import numpy as np
import pytest

from dsm_mlx import load_tts
from dsm_mlx.lm.tokens import NEW_WORD
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.pace import FASTEST, SLOWEST, UNCHANGED, padding_of
from dsm_mlx.tts.script import Entry

TEXT = 'Hello there <break time="200ms"/> my friend, how are you?'


@pytest.fixture(scope="module")
def tts(checkpoint):
    with load_tts(checkpoint("tts-tiny"), dtype="float32") as tts:
        yield tts


@pytest.fixture(scope="module")
def whole(tts):
    return tts.synthesize(TEXT, seed=5)


# ---- pace


def test_all_of_a_pace_moves_together_and_1_changes_nothing():
    assert padding_of(1) == UNCHANGED
    slow = [padding_of(pace) for pace in (SLOWEST, 0.7, 0.85, 1.0)]
    for slower, faster in itertools.pairwise(slow):
        assert slower.bonus > faster.bonus and slower.more > faster.more
        assert slower.most > faster.most
    fast = [padding_of(pace) for pace in (1.0, 1.15, 1.3, FASTEST)]
    for slower, faster in itertools.pairwise(fast):
        assert slower.bonus > faster.bonus
        assert (slower.more, slower.most) == (faster.more, faster.most)


def steps_of(more: float, ahead: int, entries: list[Entry]) -> list[int]:
    """At which steps they begin, where the model would begin a word at any moment."""
    machine = ScriptMachine(100, ahead, more_padding=more)
    machine.add(entries)
    machine.end()
    begun: list[int] = []
    for step in range(1000):
        if step == 7:  # a copy decides the same
            machine = machine.copy()
        _, entry = machine.step(step, NEW_WORD)
        begun += [step] * bool(entry)
        if machine.end_step is not None:
            return [*begun, machine.end_step]
    raise AssertionError


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("more", [0.25, 0.5, 1.0, 1.75, 3.0])
def test_steps_after_a_word_are_as_many_more_on_average(ahead, more):
    words = [Entry((11, 12), "w", 2)] * 40
    plain, slow = (steps_of(m, ahead, words) for m in (0.0, more))
    longer = [b - a for a, b in zip(plain, slow, strict=True)]
    assert all(abs(extra - more * i) <= 0.5 for i, extra in enumerate(longer))


def test_a_break_stays_as_long_as_it_is():
    entries = [Entry((11, 12), "w", 2), Entry((), "", 6), Entry((13,), "w", 1)]
    assert steps_of(0.0, 2, entries) == [2, 5, 11, 13]
    assert steps_of(2.0, 2, entries) == [2, 7, 13, 17]


def test_pace_1_is_the_model_as_it_speaks(tts, whole):
    np.testing.assert_array_equal(tts.synthesize(TEXT, seed=5, pace=1.0).audio, whole.audio)
    with tts.stream(seed=5, pace=1) as stream:
        stream.feed(TEXT)
        stream.end()
        np.testing.assert_array_equal(np.concatenate([c.audio for c in stream]), whole.audio)


def test_slower(tts):
    lengths = [tts.synthesize(TEXT, temperature=0, pace=pace).duration for pace in (0.5, 0.7, 1.0)]
    assert lengths[0] > lengths[1] > lengths[2]


def test_faster_is_less_padding_and_a_bonus_is_added_to_that(tts):
    """To a bonus without which this model, which has learnt nothing, samples no padding at all."""
    said = {}
    less = padding_of(1.5).bonus
    for pace, bonus in [(1.0, 6.0), (1.5, 6.0), (1.0, 6.0 + less)]:
        options = {"pace": pace, "padding_bonus": bonus}
        said[pace, bonus] = tts.synthesize(TEXT, seed=2, temperature=1.0, **options).audio
    plain, fast, expected = said.values()
    np.testing.assert_array_equal(fast, expected)
    assert fast.size < plain.size


def test_where_padding_is_never_sampled_a_slow_pace_forces_it(tts):
    plain, slow = (tts.synthesize(TEXT, seed=2, padding_bonus=-1000.0, pace=p) for p in (1, 0.5))
    assert plain.duration < slow.duration


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pace": 0.4}, ValueError, r"pace is 0.4 \(expected 0.5 to 1.5\)"),
        ({"pace": 1.6}, ValueError, "pace is 1.6"),
        ({"pace": float("nan")}, ValueError, "pace is nan"),
        ({"pace": "fast"}, TypeError, r"pace is 'fast' \(expected a number\)"),
        ({"pace": None}, TypeError, "pace is None"),
        ({"max_seconds": 0}, ValueError, r"max_seconds is 0 \(expected 0.08 to"),
        ({"max_seconds": float("inf")}, ValueError, "max_seconds is inf"),
        ({"max_seconds": "3"}, TypeError, "max_seconds is '3'"),
    ],
)
def test_what_cannot_be(tts, options, error, message):
    for say in (lambda: tts.synthesize("Hi", **options), lambda: tts.stream(**options)):
        with pytest.raises(error, match=message):
            say()
    assert tts.streams == 0


# ---- max_seconds


def cut_from(audio: np.ndarray, whole: np.ndarray) -> bool:
    """Whether it is the beginning of a sound, faded out at its end."""
    np.testing.assert_array_equal(audio[:-480], whole[: audio.size - 480])
    return audio[-1] == 0


@pytest.mark.parametrize(("seconds", "frames"), [(0.08, 1), (0.56, 7), (0.6, 7), (1, 12)])
def test_a_text_ends_where_it_may_be_no_longer(tts, whole, caplog, seconds, frames):
    speech = tts.synthesize(TEXT, seed=5, max_seconds=seconds)
    assert speech.audio.size == frames * 1920 and speech.duration <= seconds
    assert cut_from(speech.audio, whole.audio)
    begun = [w for w in whole.words if w.start < speech.duration]
    assert [(w.text, w.start) for w in speech.words] == [(w.text, w.start) for w in begun]
    assert all(word.start < word.end <= speech.duration for word in speech.words)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"only the first {frames * 0.08:.2f} s of the text are said (max_seconds)"
    )


@pytest.mark.parametrize("more", [0.0, 0.05, 60.0])
def test_a_text_that_is_no_longer_is_said_as_it_is(tts, whole, caplog, more):
    speech = tts.synthesize(TEXT, seed=5, max_seconds=whole.duration + more)
    np.testing.assert_array_equal(speech.audio, whole.audio)
    assert speech.words == whole.words and caplog.records == []


def test_each_text_of_a_batch_has_its_own(tts, whole, caplog):
    speeches = tts.synthesize([TEXT, "Hi"], seed=[5, 1], max_seconds=1.2)
    assert [speech.duration == 1.2 for speech in speeches] == [True, False]
    assert cut_from(speeches[0].audio, whole.audio) and len(caplog.records) == 1


def test_a_stream_tells_that_it_was_cut_short(tts, whole, caplog):
    with tts.stream(seed=5, max_seconds=0.8) as stream:
        stream.feed(TEXT)  # and there may be more
        chunks = [next(stream)]
        with stream.fork() as other:
            chunks += stream
            assert len(list(other)) == 9 and other.cut_short
        assert stream.cut_short
    assert len(chunks) == 10 and chunks[-1].ahead == 0
    assert cut_from(np.concatenate([chunk.audio for chunk in chunks]), whole.audio)
    assert len(caplog.records) == 2  # each of them once
    with tts.stream(seed=5, max_seconds=60) as stream:
        stream.feed("Hi")
        stream.end()
        assert list(stream) and not stream.cut_short


def test_a_source_without_end_is_left_alone_then(tts, whole):
    def words():
        for word in itertools.cycle(TEXT.split(" <")[0].split()):
            read.append(word)
            yield word + " "

    async def listen():
        return [chunk async for chunk in tts.speak(words(), max_seconds=0.8)]

    for chunks in (
        lambda: list(tts.speak(words(), max_seconds=0.8)),
        lambda: asyncio.run(listen()),
    ):
        read = []
        assert len(chunks()) == 10 and len(read) < 1000
    assert tts.streams == 0
