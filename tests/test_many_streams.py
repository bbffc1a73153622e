"""Many streams, one after another, and more of them than there is room for.

DSM_MLX_STREAMS=10000 opens as many as that.
"""

import faulthandler
import gc
import os
import random
import sys
import threading
import time

import mlx.core as mx
import numpy as np
import pytest
from streaming import RATE, all_free, fed, in_threads, own
from streaming import quick_to_collect as quick_to_collect

import dsm_mlx
from dsm_mlx import BusyError
from dsm_mlx.runtime import worker

STREAMS = int(os.environ.get("DSM_MLX_STREAMS", "200"))
FRAMES = np.random.default_rng(0).normal(0, 0.2, 1920 * 60).astype(np.float32)


@pytest.fixture(autouse=True)
def never_for_ever():
    """A test that waits for ever ends its process, and says where."""
    faulthandler.dump_traceback_later(120 + STREAMS / 10, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


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


@pytest.mark.thorough
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


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_more_recordings_and_texts_than_rows(narrow, alone, batch):
    stt, tts = narrow
    seeds = list(range(len(TEXTS)))
    assert transcribed(stt, batch=batch) == alone[0]
    assert same(tts.synthesize(TEXTS, seed=seeds, batch=batch), alone[1])


@pytest.mark.thorough
def test_streams_take_the_rows_of_recordings_which_end_as_alone(narrow, alone):
    stt, pcm = narrow[0], FRAMES[:9600]
    expected, done, used = fed(stt, pcm), threading.Event(), []

    def streams():
        while not done.is_set():
            with stt.stream() as one, stt.stream() as other:  # whatever the recordings hold
                with pytest.raises(BusyError, match=r"all 2 streams are in use \(close one"):
                    stt.stream()
                events = [stream.feed(pcm) for stream in (one, other)]
            time.sleep(0.02)  # in which the recordings go on
            used.append([events[0] + one.final_events, events[1] + other.final_events])

    def recordings():
        try:
            return transcribed(stt)
        finally:
            done.set()

    _, found = in_threads(streams, recordings)
    assert found == alone[0]
    assert used and all(pair == [expected] * 2 for pair in used)
    assert all_free(stt)


@pytest.mark.thorough
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
            time.sleep(0.02)  # in which the texts go on

    def texts():
        try:
            return tts.synthesize(TEXTS, seed=[0, 1, 2, 3])
        finally:
            done.set()

    _, found = in_threads(streams, texts)
    assert same(found, alone[1])
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
        assert ended == [] and stt.stats()["rows_in_use"] == 2
        assert stt.stats()["frames_waiting"] >= len(RECORDINGS)
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
