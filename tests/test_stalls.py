"""The guard against stalls: a model that falls silent starts afresh, and no word is lost or told
twice. Most of it with a model of a few lines, which hears words that are written in the sound."""

from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from streaming import RATE, all_free, own, rest, words
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import EndOfTurn, Event, Pause, Renewed, Word
from dsm_mlx.audio import read
from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.stt import guard, saving
from dsm_mlx.stt.clock import Clock, Timing
from dsm_mlx.stt.guard import Guard, GuardPolicy
from dsm_mlx.stt.session import Session

FRAME, DELAY = 1920, 6
LOUD, SOFT, SILENT = 0.2, 0.05, 0.002
SIGN = 0.25, -0.25  # around a word's number
NEVER = 10**9
DEMOS = Path(__file__).parents[1] / "demos" / "audio"


class Tokenizer:
    """A word for each number from 10 up."""

    def id_to_piece(self, token):
        return f"▁w{token}"

    def decode(self, tokens):
        return " ".join(f"w{token}" for token in tokens)


def spoken(count, pause=2, first=10, every=0, long=0):
    """`count` words: each four frames, now a vowel and now a hiss, the first of which begins with
    the word's number; then `pause` quiet ones, and `long` more after `every` words."""
    rng, frames = np.random.default_rng(first), []
    tone = np.sin(2 * np.pi * 200 * np.arange(FRAME) / RATE)
    for word in range(first, first + count):
        parts = [LOUD * tone, SOFT * rng.standard_normal(FRAME), LOUD * tone, SOFT * tone]
        parts[0][:3] = SIGN[0], word / 1000, SIGN[1]
        more = long if every and (word - first) % every == every - 1 else 0
        frames += [*parts, *(SILENT * rng.standard_normal((pause + more, FRAME)))]
    return np.concatenate(frames).astype(np.float32)


class Model:
    """Says a word when it has heard its first frame `DELAY` frames ago, as long as it has not heard
    more than `stalls` frames since it started afresh."""

    def __init__(self, session, stalls):
        self.session, self.stalls, self.events = session, stalls, []

    def run(self, frames=NEVER):
        """All events, when nothing is left to be heard, or after so many frames."""
        session = self.session
        while frames and (session.prepare() or session.ready):
            if not session.ready:
                continue
            if session.beginning is not None:
                self.heard, self.token, session.beginning = [], PADDING, None
            self.heard.append(session.next_frame())
            session.take(self._token(), [0.0] * 4, 0.9)
            self.events += session.take_events()
            frames -= 1
        self.events += session.take_events()
        return self.events

    def _token(self):
        last, self.token = self.token, PADDING
        if not DELAY - 1 <= len(self.heard) <= self.stalls:
            return PADDING
        if last != PADDING:
            return last
        begins, number, ends = self.heard[-DELAY + 1 :][0][:3]
        if (begins, ends) != SIGN:
            return PADDING
        self.token = round(1000 * float(number))
        return NEW_WORD


def session(prefix=0, heads=True, gain=None):
    timing = Timing(RATE, 12.5, FRAME, DELAY, prefix, heads)
    return Session("fresh", Tokenizer(), timing, options={"gain": gain})


def heard(pcm, stalls, pieces=1, **options):
    """Events of the sound, given in so many pieces, to the end."""
    model = Model(session(**options), stalls)
    for part in np.array_split(pcm, pieces):
        model.session.feed(part)
        model.run()
    model.session.drain()
    return model.run()


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("prefix", [0, 7 * FRAME])
@pytest.mark.parametrize("stalls", [50, 75, 120, 200])
def test_no_word_is_lost_or_told_twice(stalls, prefix):
    """But for the very last ones, where no more sound comes than half of what shows a stall."""
    pcm = spoken(60, every=10, long=4)
    expected, found = heard(pcm, NEVER, prefix=prefix), heard(pcm, stalls, prefix=prefix)
    assert len(words(expected)) == 60 and not kinds(expected, Renewed)
    assert kinds(found, Renewed)
    told = kinds(found, Word)
    assert told == kinds(expected, Word)[: len(told)]  # at the same times
    assert told[-1].end > 30.7 - 2 / (4 / 6)
    assert kinds(found, Pause) == kinds(expected, Pause)
    times = [event.time for event in kinds(found, Renewed)]
    assert times == sorted(times)


def test_it_is_the_same_in_pieces():
    pcm = spoken(60, every=10, long=4)
    whole = heard(pcm, 90)
    assert heard(pcm, 90, pieces=77) == whole and len(kinds(whole, Renewed)) > 2


def test_it_renews_in_a_pause_or_where_none_comes_soon():
    policy = GuardPolicy()
    in_pause = kinds(heard(spoken(60, every=3, long=4), 40), Renewed)[0]
    pcm = spoken(60, every=3, long=4)
    frame = round(in_pause.time * 12.5)
    quiet = pcm.reshape(-1, FRAME)[frame - 3 : frame]
    assert np.abs(quiet).max() < 0.02
    at_once = kinds(heard(spoken(60, pause=1), 40), Renewed)[0]
    unheard = at_once.time - 40 / 12.5
    assert policy.speech + policy.patience < unheard < policy.speech + policy.patience + 4


def test_without_it_the_words_would_be_lost(monkeypatch):
    """So that the tests above show something."""
    monkeypatch.setattr(Guard, "push", lambda *_, **__: False)
    assert len(words(heard(spoken(60), 40))) < 10


def test_ends_of_turns_come_once_after_the_words():
    quiet = SILENT * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    pcm = np.concatenate([spoken(30), quiet, spoken(20, first=50), quiet])
    found = heard(pcm, 110, heads=False)
    ends = [event.time for event in kinds(found, EndOfTurn)]
    assert len(ends) == 2 and 14.4 < ends[0] < 16.4 and 28.0 < ends[1] < 30.0
    told = words(found[: found.index(EndOfTurn(ends[0]))])
    assert [text for text, _ in told] == [f"w{number}" for number in range(10, 40)]
    assert len(words(found)) > 44 and kinds(found, Renewed)


def test_words_at_the_end_are_brought_out_by_a_flush():
    """Of which there is less than elsewhere is asked for."""
    pcm = spoken(34)
    assert len(kinds(heard(pcm, 160), Renewed)) == 1
    assert words(heard(pcm, 160)) == words(heard(pcm, NEVER))


def test_a_reset_forgets_what_was_kept():
    model = Model(session(), 90)
    model.session.feed(spoken(50))
    model.session.drain()
    model.session.restart()
    assert len(words(model.run())) == 50
    assert model.session.guard.first == model.session.frame
    model.session.feed(spoken(3, first=70))
    model.session.drain()
    assert len(words(model.run())) == 53


# ---- what is no stall


def never_renewed(pcm, pauses=()):
    """How often a model that says nothing would be renewed."""
    watch, times = Guard(12.5, DELAY), []
    for i, frame in enumerate(pcm[: pcm.size // FRAME * FRAME].reshape(-1, FRAME)):
        if watch.push(i, frame, audio=True, spoken=False, pauses=list(pauses)):
            times.append(i)
            watch.renew(i + 1, 0)
    return times


def melody(seconds, rng):
    made = np.zeros(seconds * RATE)
    for start in range(0, made.size - RATE // 4, RATE // 4):
        time = np.arange(RATE // 4) / RATE
        pitch = 220 * 2 ** (rng.integers(0, 24) / 12)
        made[start : start + time.size] = 0.2 * np.sin(2 * np.pi * pitch * time) * np.exp(-8 * time)
    return made.astype(np.float32)


def test_silence_noise_and_tones_are_no_speech():
    rng, time = np.random.default_rng(0), np.arange(40 * RATE) / RATE
    noise = 0.05 * rng.standard_normal(time.size)
    switched = np.where(time % 9 < 4, 0, noise)
    tone = 0.2 * np.sin(2 * np.pi * 440 * time)
    for pcm in (0 * time, noise, switched, tone, tone * (time % 1 < 0.5), melody(40, rng)):
        assert never_renewed(pcm.astype(np.float32)) == []
    assert never_renewed(spoken(100))


def test_what_the_heads_doubt_takes_longer():
    """And they are not believed for ever: where no words come, they believe in a pause."""
    pcm = spoken(100)
    sure, doubted = never_renewed(pcm), never_renewed(pcm, [0.9] * 4)
    assert 1.6 < doubted[0] / sure[0] < 2.2


def test_sound_that_seems_speech_for_ever_is_heard_again_less_and_less_often():
    times = np.array(never_renewed(np.concatenate([spoken(100)] * 15))) / 12.5
    between = np.diff(times)
    assert len(times) <= 5 and all(b > 1.5 * a for a, b in pairwise(between))
    watch = Guard(12.5, DELAY)
    for i, frame in enumerate(spoken(60).reshape(-1, FRAME)):
        watch.push(i, frame, audio=True, spoken=False, pauses=[])
    assert sum(kept.pcm.nbytes for kept in watch.kept) < 2.2e6


def test_no_more_is_kept_than_may_be_needed():
    """Nothing of a silence, and little while words come."""
    model = Model(session(), NEVER)
    for _ in range(20):
        model.session.feed(spoken(5))
        model.run()
        assert len(model.session.guard.kept) < 3 * 12.5 + DELAY
    model.session.feed(np.zeros(20 * RATE, np.float32))
    model.run()
    assert len(model.session.guard.kept) <= 5


# ---- as a value


@pytest.mark.parametrize("cut", range(1, 500, 31))
def test_what_is_saved_goes_on(cut):
    """Wherever that is: before a stall, in it, while sound is heard again."""
    pcm = spoken(60, every=10, long=4)
    whole = heard(pcm, 90, gain="auto")
    model, again = Model(session(gain="auto"), 90), session(gain="auto")
    model.session.feed(pcm)
    model.run(cut)
    values, options = saving.plain(model.session), model.session.options | {"turns": {}}
    data = saving.to_bytes(memoryview(b""), values, options, "this")
    saving.restore(again, saving.Saved(data, "this").values())
    again.beginning, model.session = model.session.beginning, again
    again.drain()
    assert model.run() == whole


def test_the_clock_of_what_is_heard_again():
    clock = Clock(10)
    clock.advance(5, audio=False)
    clock.advance(40, audio=True)
    clock.advance(5, audio=False)
    clock.advance(20, audio=True)
    assert (clock.seconds(25), clock.seconds(47), clock.seconds(60)) == (2.0, 4.0, 5.0)
    clock.repeat(25, 48, 6)  # which puts off all after 48 by 29
    assert clock.seconds(25) == 2.0 and clock.heard == 70 + 29 and clock.now == 6.0
    assert clock.seconds(50) == 2.0 and not clock.is_audio(50)
    assert clock.seconds(54) == 2.0 and clock.is_audio(54) and clock.seconds(64) == 3.0
    assert clock.seconds(75) == 4.0 and not clock.is_audio(75)
    assert clock.seconds(60 + 29) == 5.0 and clock.is_audio(60 + 29)
    assert clock.audio_within(0, 99) == [(5, 45), (54, 74), (79, 99)]


# ---- real models


class Stalling:
    """A step that says only padding for a row that has gone more than `after` frames."""

    def __init__(self, step, after):
        self._step, self._after = step, after

    def __getattr__(self, name):
        return getattr(self._step, name)

    def __call__(self, pcm, state, *options):
        old = state["lm"]["offset"] > self._after
        output, state = self._step(pcm, state, *options)
        state["text"] = mx.where(old, PADDING, output.text).astype(mx.int32)
        return output._replace(text=state["text"]), state


@pytest.fixture
def quick(monkeypatch):
    """A guard that does not wait for long."""
    policy = GuardPolicy(speech=1.6, patience=0.4, kept=6.0, rest=3.0)
    monkeypatch.setattr(guard, "GuardPolicy", lambda: policy)


@pytest.mark.thorough
def test_a_small_model_goes_on_in_every_row(small, tmp_path, quick):
    """Rows of a batch, recordings and a stream: each by itself, and as if alone."""
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path))
    frames = stt._core.batch._step
    frames.step = Stalling(frames.step, 40)
    sounds = [spoken(25), spoken(4), spoken(18, first=60)]
    together = stt.transcribe(sounds, sample_rate=RATE)
    assert together == [stt.transcribe(pcm, sample_rate=RATE) for pcm in sounds]
    with stt.stream() as stream:
        for part in np.array_split(sounds[0], 10):
            stream.push(part)
            list(stream.known())
        copy = stt.resume(stream.save())
        found = rest(stream)
        assert rest(copy) == found
    parts = stt.transcribe_events([sounds[0]], sample_rate=RATE)
    events = [event for part in parts for event in part.events]
    renewed = kinds(events, Renewed)
    assert renewed and all(isinstance(event, Event) for event in renewed)
    times = [event.time for event in kinds(events, Pause)]
    assert times == sorted(times) and len(times) == sounds[0].size // FRAME
    assert all(one.start <= two.start for one, two in pairwise(kinds(events, Word)))
    assert all_free(stt)


def test_what_waits_to_be_heard_again_takes_no_room(small, quick):
    """Who pushes in real time is not told that too much waits."""
    stt = dsm_mlx.load_stt(small("stt-tiny"))
    with stt.stream() as stream:
        session = stream._session
        with session.changed:
            session.samples = session.again_samples = 12 * RATE
            assert stream._room()
            session.again_samples = 0
            assert not stream._room()
            session.samples = 0


@pytest.mark.thorough
def test_tiny_goes_on(quick):
    """It falls silent after each three seconds, and hears nearly all the same."""
    stt = dsm_mlx.load_stt("tiny")
    frames = stt._core.batch._step
    pcm = np.concatenate([read(DEMOS / name) for name in ("kitchen.wav", "cat.flac")])

    def heard():
        with stt.stream() as stream:
            return stream.feed(pcm) + stream.flush()

    expected, step = heard(), frames.step
    frames.step = Stalling(step, 38)
    try:
        found = heard()
    finally:
        frames.step = step
    assert kinds(found, Renewed) and not kinds(expected, Renewed)
    texts = [text for text, _ in words(found)]
    missing = [text for text, _ in words(expected) if text not in texts]
    assert len(missing) <= 2 and abs(len(texts) - len(words(expected))) <= 2
    assert len(kinds(found, Pause)) == len(kinds(expected, Pause))
