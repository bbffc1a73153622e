"""Streams that are closed, cancelled, dropped or interrupted at any moment.

DSM_MLX_SCHEDULES=1000 plays as many as that.
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

import numpy as np
import pytest
from streaming import RATE, all_free, fed, in_threads, own, run
from streaming import quick_to_collect as quick_to_collect

import dsm_mlx
from dsm_mlx import BusyError
from dsm_mlx.runtime import worker

SCHEDULES = int(os.environ.get("DSM_MLX_SCHEDULES", "100"))
PARTS = 5
FRAMES = np.random.default_rng(0).normal(0, 0.2, 1920 * 60).astype(np.float32)
TEXT = "one two three four five "


@pytest.fixture(autouse=True)
def never_for_ever():
    """A test that waits for ever ends its process, and says where."""
    faulthandler.dump_traceback_later(120 + SCHEDULES, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def models(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    return (
        dsm_mlx.load_stt(own(small("stt-tiny"), folder)),
        dsm_mlx.load_tts(own(small("tts-tiny"), folder)),
    )


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
