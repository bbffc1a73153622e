"""Streams that are closed, cancelled and dropped at any moment; many of them; more than fit.

DSM_MLX_SCHEDULES=1000 and DSM_MLX_STREAMS=10000 run as many as that.
"""

import asyncio
import faulthandler
import gc
import os
import random
import signal
import sys
import threading
import time

import mlx.core as mx
import numpy as np
import pytest
from streaming import RATE, all_free, fed, in_threads, own, run

import dsm_mlx
from dsm_mlx import BusyError
from dsm_mlx.runtime import worker

SCHEDULES = int(os.environ.get("DSM_MLX_SCHEDULES", "300"))
STREAMS = int(os.environ.get("DSM_MLX_STREAMS", "500"))
PARTS = 5
FRAMES = np.random.default_rng(0).normal(0, 0.2, 1920 * 400).astype(np.float32)
TEXT = "one two three four five "


@pytest.fixture(autouse=True)
def never_for_ever():
    """A test that waits for ever ends its process, and says where."""
    faulthandler.dump_traceback_later(120 + SCHEDULES + STREAMS / 10, True, sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def models(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    gc.collect()
    gc.freeze()  # what was there before, so that collecting is quick
    yield (
        dsm_mlx.load_stt(own(small("stt-tiny"), folder)),
        dsm_mlx.load_tts(own(small("tts-tiny"), folder)),
    )
    gc.unfreeze()


# ---- two threads: one works with a stream, the other one ends it


class Schedule:
    """What happens to one stream, by a seed. `held` is the one reference; both threads use it."""

    def __init__(self, models, seed):
        self.stt, self.tts = models
        self.rng = random.Random(seed)
        self.frames = self.rng.choice([1, 1, 2, 5, 40])
        works = [self.feed, self.flush, self.push, self.push_async, self.recordings]
        self.work = self.rng.choice([*works, self.speak, self.speak_async])
        self.end = self.rng.choice([self.close, self.aclose, self.drop, self.drop_in_a_cycle])
        self.wait = self.rng.choice([0, 0, self.rng.uniform(0, 0.002), self.rng.uniform(0, 0.02)])
        self.held, self.error = [], None
        self.opened, self.over = threading.Event(), threading.Event()

    def play(self):
        in_threads(self.working, self.ending)
        self.held.clear()
        # All that may come of it: the stream is closed, or too much waits in it.
        assert self.error is None or isinstance(self.error, (BusyError, ValueError)), self.error
        told = str(self.error or "closed")
        assert any(word in told for word in ("closed", "wait to be heard", "over")), told

    def working(self):
        try:
            self.work()
        except IndexError:  # it was dropped between two calls
            pass
        except Exception as error:
            self.error = error
        finally:
            self.over.set()
            self.opened.set()

    def ending(self):
        self.opened.wait()
        time.sleep(self.wait)
        self.end()

    # ---- what it is used for, until it ends

    def pcm(self):
        return FRAMES[: 1920 * self.frames + self.rng.randrange(1920)]

    def open(self, stream):
        self.held.append(stream)
        self.opened.set()

    def feed(self):
        self.open(self.stt.stream())
        while True:
            self.held[0].feed(self.pcm())

    def flush(self):
        self.open(self.stt.stream())
        while True:
            self.held[0].feed(self.pcm())
            self.rng.choice([self.held[0].flush, self.held[0].reset])()

    def push(self):
        self.open(self.stt.stream())
        while True:
            self.held[0].push(self.pcm())
            if self.rng.random() < 0.2:
                self.rng.choice([self.held[0].flush, self.held[0].reset])()
            for _ in range(self.frames):
                if next(self.held[0], None) is None:
                    return

    def push_async(self):
        async def pushed():
            self.open(self.stt.stream())
            while True:
                await self.held[0].ready()
                self.held[0].push(self.pcm())
                for _ in range(self.frames):
                    if await anext(self.held[0], None) is None:
                        return

        run(pushed())

    def recordings(self):
        self.open(self.stt.transcribe_events([self.pcm()] * 3, sample_rate=RATE))
        while next(self.held[0], None):
            pass

    def speak(self):
        self.open(self.said())
        while next(self.held[0], None):
            pass

    def speak_async(self):
        async def spoken():
            self.open(self.said())
            while await anext(self.held[0], None):
                pass

        run(spoken())

    def said(self):
        stream = self.tts.stream()
        stream.feed(TEXT * self.frames)
        stream.end()
        return stream

    # ---- how it ends

    def close(self):
        for stream in list(self.held):
            stream.close()

    def aclose(self):
        for stream in list(self.held):
            asyncio.run(stream.aclose())

    def drop(self):
        self.held.clear()
        gc.collect()

    def drop_in_a_cycle(self):
        cycle = list(self.held)
        cycle.append(cycle)
        self.held.clear()
        del cycle
        worker.run(gc.collect)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_stream_may_be_ended_at_any_moment(models, part):
    for seed in range(part, SCHEDULES, PARTS):
        Schedule(models, seed).play()
    assert all_free(*models)
    assert fed(models[0], FRAMES[:19200]) == fed(models[0], FRAMES[:19200])


# ---- many of them


def one_of_many(stt, tts, rng):
    """Open a stream, use it or not, and end it in some way."""
    doing, pcm = rng.randrange(6), FRAMES[: rng.choice([0, 700, 1920, 5000])]
    if doing < 3:
        stream = tts.stream(seed=doing)
    else:
        stream = stt.stream(temperature=rng.choice([0.0, 0.0, 0.5]))
    if doing == 1:
        stream.feed("one two")
    elif doing == 2:
        stream.feed("one two")
        stream.end()
        next(stream, None)
    elif doing == 4:
        stream.feed(pcm)
        rng.choice([stream.flush, stream.reset, list])()
    elif doing == 5:
        stream.push(pcm)
        stream.mark(1)
    end = rng.randrange(3)
    if end == 0:
        stream.close()
    elif end == 1:
        stream.cycle = stream


def test_memory_is_as_at_first_after_many_streams(small, tmp_path):
    """Opened, used or not, closed, cancelled, dropped, in a cycle or not."""
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path))
    tts = dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path))

    def active():
        assert all_free(stt, tts)
        worker.run(mx.synchronize)
        return mx.get_active_memory()

    rng, before = random.Random(0), None
    for i in range(50 + STREAMS):
        if i == 50:  # by when all is there that stays
            before = active()
        if i % 10 == 0:
            gc.collect()  # or all rows are taken by cycles that wait to be found
        one_of_many(stt, tts, rng)
    assert active() == before


# ---- more than there is room for


@pytest.fixture(scope="module")
def narrow(small, tmp_path_factory):
    """Models with two rows."""
    folder = tmp_path_factory.mktemp("narrow")
    return (
        dsm_mlx.load_stt(own(small("stt-tiny"), folder), max_streams=2),
        dsm_mlx.load_tts(own(small("tts-tiny"), folder), max_streams=2),
    )


RECORDINGS = [FRAMES[at : at + 1920 * n + 77] for at, n in ((0, 20), (5000, 1), (9, 33), (700, 12))]
TEXTS = ["one two three", "four", "five six", "seven eight nine ten"]


@pytest.fixture(scope="module")
def alone(narrow):
    stt, tts = narrow
    said = [tts.synthesize(text, seed=i) for i, text in enumerate(TEXTS)]
    return [stt.transcribe(pcm, sample_rate=RATE) for pcm in RECORDINGS], said


def transcribed(stt, **options):
    return stt.transcribe(RECORDINGS, sample_rate=RATE, **options)


def same(said, expected):
    return all(np.array_equal(a.audio, b.audio) for a, b in zip(said, expected, strict=True))


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_more_recordings_and_texts_than_rows(narrow, alone, batch):
    stt, tts = narrow
    seeds = list(range(len(TEXTS)))
    assert transcribed(stt, batch=batch) == alone[0]
    assert same(tts.synthesize(TEXTS, seed=seeds, batch=batch), alone[1])


def test_streams_take_the_rows_of_recordings_which_end_as_alone(narrow, alone):
    stt, pcm = narrow[0], FRAMES[:9600]
    expected, done, used = fed(stt, pcm), threading.Event(), []

    def streams():
        while not done.is_set():
            with stt.stream() as one, stt.stream() as other:  # whatever the recordings hold
                with pytest.raises(BusyError, match=r"all 2 streams are in use \(close one"):
                    stt.stream()
                events = [stream.feed(pcm) for stream in (one, other)]
            used.append([events[0] + one.final_events, events[1] + other.final_events])

    def recordings():
        try:
            return [transcribed(stt) for _ in range(3)]
        finally:
            done.set()

    _, found = in_threads(streams, recordings)
    assert found == [alone[0]] * 3
    assert used and all(pair == [expected] * 2 for pair in used)
    assert all_free(stt)


def test_speech_takes_the_rows_of_texts_which_end_as_alone(narrow, alone):
    tts, done, used = narrow[1], threading.Event(), []

    def streams():
        while not done.is_set():
            with tts.stream(seed=0) as one, tts.stream(seed=3) as other:
                with pytest.raises(BusyError, match="all 2 streams are in use"):
                    tts.stream()
                for stream, i in ((one, 0), (other, 3)):
                    stream.feed(TEXTS[i])
                    stream.end()
                used.append([np.concatenate([c.audio for c in s]) for s in (one, other)])

    def texts():
        try:
            return [tts.synthesize(TEXTS, seed=[0, 1, 2, 3]) for _ in range(2)]
        finally:
            done.set()

    _, found = in_threads(streams, texts)
    assert all(same(said, alone[1]) for said in found)
    assert used and all(np.array_equal(a, alone[1][0].audio) for a, _ in used)
    assert all(np.array_equal(b, alone[1][3].audio) for _, b in used)
    assert all_free(tts)


def test_recordings_wait_for_a_row_that_a_stream_gives_back(narrow, alone):
    stt, tts = narrow
    held = [stt.stream(), stt.stream(), tts.stream(), tts.stream()]
    ended = []

    def waiting(call):
        found = call()
        ended.append(time.monotonic())
        return found

    def closing():
        time.sleep(0.3)
        assert ended == [] and stt.stats()["rows_in_use"] == 2 + len(RECORDINGS)
        held[1].close()
        held[2].close()

    found, said, _ = in_threads(
        lambda: waiting(lambda: transcribed(stt)),
        lambda: waiting(lambda: tts.synthesize(TEXTS, seed=[0, 1, 2, 3])),
        closing,
    )
    assert found == alone[0] and same(said, alone[1])
    for stream in held:
        stream.close()


def test_a_row_may_be_waited_for(narrow):
    stt = narrow[0]
    held = [stt.stream(), stt.stream()]
    with pytest.raises(BusyError):
        stt.stream(wait=0.05)
    threading.Timer(0.1, held[0].close).start()
    stt.stream(wait=30).close()
    held[1].close()


# ---- Ctrl-C


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which would end the tests if it came late."""


@pytest.fixture
def interrupting():
    """`interrupting(seconds)`: after that, and again, this thread is interrupted; 0: no more."""

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds, seconds and 0.5)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def opened(stt, tts):
    for stream in (stt.stream(), tts.stream()):
        stream.close()


def used(stt, tts):
    with stt.stream() as stream, tts.stream() as speech:
        speech.feed(TEXT)
        stream.feed(FRAMES[:9600])
        next(speech)


def whole(stt, tts):
    stt.transcribe([FRAMES[:19200]] * 3, sample_rate=RATE)
    tts.synthesize([TEXT, TEXT])


def listened(stt, tts):
    for _ in stt.listen([FRAMES[:9600]] * 3):
        pass
    for _ in tts.speak([TEXT]):
        pass


@pytest.mark.parametrize("work", [opened, used, whole, listened])
def test_ctrl_c_at_any_moment_leaves_no_row_behind(models, interrupting, work):
    rng = random.Random(work.__name__)
    for _ in range(SCHEDULES // 10):
        with pytest.raises(Interrupted):
            interrupting(rng.uniform(0.0005, 0.05))
            while True:
                work(*models)
        interrupting(0)
    assert all_free(*models)
    assert fed(models[0], FRAMES[:19200]) == fed(models[0], FRAMES[:19200])
