"""What the tests of streams share: sound, the events of it, and a bound on every wait."""

import asyncio
import faulthandler
import gc
import itertools
import shutil
import sys
import threading
import time
import types

import numpy as np
import pytest

from dsm_mlx import Partial, Pause, Word

RATE = 24_000
SOON = 60.0  # seconds in which anything here is over, also on a busy machine


@pytest.fixture(autouse=True)
def never_for_ever():
    """A test that waits for ever ends its process, and says where."""
    faulthandler.dump_traceback_later(2 * SOON, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def quick_to_collect():
    """The collector does not look at what was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def own(folder, parent):
    """A copy of a model's folder, so that nobody else shares its rows."""
    return shutil.copytree(folder, parent / folder.name)


def sound(seconds, seed=0):
    """Noise: float32 (samples,)."""
    noise = np.random.default_rng(seed).normal(0, 0.2, round(seconds * RATE))
    return noise.astype(np.float32)


def pieces(pcm, seed, most=9000):
    """The sound in pieces of random lengths, some of them empty."""
    rng, at, found = np.random.default_rng(seed), 0, []
    while at < pcm.size:
        size = int(rng.integers(0, most))
        found.append(pcm[at : at + size])
        at += size
    return found


def without_partials(events):
    return [event for event in events if not isinstance(event, Partial)]


def words(events):
    """What words are, and when: (text, start)."""
    return [(event.text, event.start) for event in events if isinstance(event, Word)]


def pauses(events):
    return [event for event in events if isinstance(event, Pause)]


def fed(stt, pcm, chunk=4000, **options):
    """All events of a sound that is fed."""
    events = []
    with stt.stream(**options) as stream:
        for start in range(0, pcm.size, chunk):
            events += stream.feed(pcm[start : start + chunk])
    return events + stream.final_events


def forked(stream):
    """A fork of it; itself is closed."""
    other = stream.fork()
    stream.close()
    return other


def resumed(stt, stream):
    """The stream that its bytes give; itself is closed."""
    data = stream.save()
    stream.close()
    assert isinstance(data, bytes)
    return stt.resume(data)


def rest(stream):
    """End a pushed stream: the events that are left, without partials."""
    stream.end()
    found = without_partials(stream)
    stream.close()
    return found


def sound_of(chunks):
    return np.concatenate([np.zeros(0, np.float32), *(chunk.audio for chunk in chunks)])


def all_free(*handles):
    """Whether all rows are free again; waits for threads that were given up to notice it."""
    gc.collect()
    until = time.monotonic() + SOON
    while any(handle.stats()["rows_in_use"] for handle in handles):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def eventually(true):
    """Whether it becomes true before long."""
    until = time.monotonic() + SOON
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def in_threads(*calls):
    """What the calls return, made at the same time; an error is raised here."""
    found = outcomes(*calls)
    for _, error in found:
        if error:
            raise error
    return [value for value, _ in found]


def outcomes(*calls, seconds=SOON):
    """What each of the calls returns, made at the same time, and the error that it raises."""
    found = [None] * len(calls)

    def call(i):
        try:
            found[i] = calls[i](), None
        except BaseException as error:
            found[i] = None, error

    threads = [threading.Thread(target=call, args=(i,), daemon=True) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "it waits for ever"
    return found


def run(coroutine):
    """As asyncio.run, but not for ever."""

    async def bounded():
        return await asyncio.wait_for(coroutine, SOON)

    return asyncio.run(bounded())


@types.coroutine
def cut(awaitable, at):
    """Await, and cancel at the await number `at`, as a task that is cancelled there."""
    steps, cancelled = awaitable.__await__(), False
    for i in itertools.count():
        try:
            if i == at + 1:
                cancelled = True
                waits_for = steps.throw(asyncio.CancelledError())
            else:
                waits_for = steps.send(None)
        except StopIteration as end:
            assert not cancelled, "it was cancelled and goes on"
            return end.value
        if i != at:
            yield waits_for
