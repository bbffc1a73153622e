"""Who waits for whom, on real threads: counted in steps, because a busy machine is slow.

`test_schedule.py` has the same on a clock of its own.
"""

import threading

import pytest
from streaming import RATE, in_threads, own, sound
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx.runtime import worker


@pytest.fixture(scope="module")
def tts(small):
    return dsm_mlx.load_tts(small("tts-tiny"))


@pytest.mark.thorough
def test_a_live_frame_is_in_the_next_step_beside_eight_recordings(small, tmp_path):
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path))
    recordings = [sound(4, seed) for seed in range(8)]
    alone = [stt.transcribe(pcm, sample_rate=RATE) for pcm in recordings]
    batch, delays, given = stt._core.batch, [], []
    stream = stt.stream()
    session = stream._session
    feed, take = session.feed, session.take

    def counted_feed(pcm):
        given.append(batch.steps)  # with the session's lock held
        feed(pcm)

    def counted_take(*outcome):
        delays.append(batch.steps - given[len(delays)])
        take(*outcome)

    session.feed, session.take = counted_feed, counted_take
    done = threading.Event()

    def live():
        while not done.is_set():
            stream.feed(sound(0.08))
        stream.close()

    def files():
        try:
            return stt.transcribe(recordings, sample_rate=RATE)
        finally:
            done.set()

    _, found = in_threads(live, files)
    assert found == alone
    assert len(delays) > 20 and max(delays) <= 1


@pytest.mark.thorough
def test_a_live_frame_waits_for_one_turn_of_a_speaking_model(small, tmp_path, tts, monkeypatch):
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path))
    waited, turns = [], 0
    stream = stt.stream()
    session = stream._session
    feed, take = session.feed, session.take
    mine = stt._core.batch

    def turn(batch, *args):
        nonlocal turns
        turns += batch is not mine
        return real(batch, *args)

    def counted_feed(pcm):
        waited.append(-turns)
        feed(pcm)

    def counted_take(*outcome):
        waited[-1] += turns
        take(*outcome)

    session.feed, session.take = counted_feed, counted_take
    real = type(mine).turn
    monkeypatch.setattr(type(mine), "turn", turn)
    done = threading.Event()

    def live():
        while not done.is_set():
            stream.feed(sound(0.08))
        stream.close()

    def texts():
        try:
            tts.synthesize(["one two three four five six seven"] * 8)
        finally:
            done.set()

    in_threads(live, texts)
    assert len(waited) > 20 and max(waited) <= 1


@pytest.mark.parametrize("texts", [0, 8])
def test_cancelled_speech_is_gone_after_two_steps(tts, texts):
    done = threading.Event()

    def cancelled():
        found = []
        while not found or not done.is_set():
            stream = tts.stream()
            stream.feed("one two three four five six seven eight nine ten")
            next(stream)
            session = stream._session
            batch = session.home
            before = batch.steps
            stream.cancel()
            while worker.run(lambda s=session, b=batch: s in b.open):
                pass
            found.append(batch.steps - before)
        return found

    def spoken():
        try:
            if texts:
                tts.synthesize(["one two three four five six"] * texts)
        finally:
            done.set()

    steps, _ = in_threads(cancelled, spoken)
    assert max(steps) <= 2
