"""The one thread: jobs in pieces, ends, forks, finalisers. Who cannot reach it is told so at once.

What must not hang runs under a time limit, in a process or in threads of its own.
"""

import gc
import signal
import sys
import threading
import time

import mlx.core as mx
import numpy as np
import pytest
from commands import wait_for
from streaming import outcomes
from test_schedule import Counted, made

import dsm_mlx
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.worker import Worker, run, shared

SOON = 20.0  # seconds in which anything here is over, also on a busy machine


def in_time(*calls):
    """What each call returns or raises, all of them in threads at the same time."""
    return [value if error is None else error for value, error in outcomes(*calls, seconds=SOON)]


# ---- jobs


def counting(upto, ends=None):
    try:
        yield from range(upto)
        return upto
    finally:
        if ends is not None:
            ends.append(True)


def test_a_job_tells_how_far_it_is_and_gives_its_value():
    told = []
    assert Worker().run_pieces(counting(5), told.append) == 5
    assert told == [0, 1, 2, 3, 4]


def test_what_a_job_raises_is_raised_where_it_was_asked_for():
    worker = Worker()
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0)
    with pytest.raises(SystemExit):  # whatever it is, the thread goes on
        worker.run(sys.exit, 3)
    assert worker.run(lambda: 1) == 1


def test_an_error_in_progress_ends_that_job_only():
    worker, ends = Worker(), []

    def progress(told):
        raise KeyError(told)

    with pytest.raises(KeyError):
        worker.run_pieces(counting(10**9, ends), progress)
    assert worker.run_pieces(counting(3)) == 3
    worker.run(lambda: None)
    assert ends == [True]


def test_a_job_that_fails_as_it_is_given_up_harms_nobody():
    worker = Worker()

    def stubborn():
        try:
            while True:
                yield
        finally:
            raise RuntimeError("while ending")

    def progress(told):
        raise KeyError

    with pytest.raises(KeyError):
        worker.run_pieces(stubborn(), progress)
    assert in_time(lambda: worker.run(lambda: 7)) == [7]


def test_jobs_take_turns():
    worker, order = Worker(), []

    def job(name):
        for _ in range(3):
            order.append(name)
            yield

    both = threading.Barrier(2)
    worker.post(both.wait)  # so that both are there before the first begins
    threads = [
        threading.Thread(target=lambda name=name: worker.run_pieces(job(name))) for name in "ab"
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    both.wait(SOON)
    for thread in threads:
        thread.join(SOON)
    assert order in (list("ababab"), list("bababa"))


# ---- its own thread


def test_a_call_from_its_own_thread_that_would_wait_is_refused(small):
    """Such as in `__del__`, which the collector may call on any thread."""
    stt, tts = dsm_mlx.load_stt(small("stt-tiny")), dsm_mlx.load_tts(small("tts-tiny"))
    fed, pushed, said = stt.stream(), stt.stream(), tts.stream()
    pushed.push(np.zeros(1920, np.float32))
    events, speech = iter(pushed), iter(said)
    calls = [
        stt.stream,
        tts.stream,
        lambda: fed.feed(np.zeros(1920, np.float32)),
        fed.flush,
        fed.reset,
        lambda: next(events),
        lambda: next(speech),
        lambda: stt.transcribe(np.zeros(1920, np.float32), sample_rate=24000),
        lambda: tts.synthesize("one"),
        lambda: dsm_mlx.load_stt(small("stt-tiny")),
        lambda: dsm_mlx.load_codec(small("stt-tiny")),
    ]

    def refused(call):
        with pytest.raises(RuntimeError, match="was made on that thread"):
            call()
        return True

    for call in calls:
        assert in_time(lambda call=call: run(refused, call)) == [True]
    for stream in (fed, pushed, said):
        assert in_time(lambda stream=stream: run(stream.close)) == [None]
    assert fed_alone(stt) == fed_alone(stt)


def fed_alone(stt):
    with stt.stream() as stream:
        return stream.feed(np.random.default_rng(0).normal(0, 0.2, 9600).astype(np.float32))


def test_arrays_are_made_on_one_thread_only(small, monkeypatch):
    """A thread that has used MLX's arrays aborts the process if it ends as the interpreter does."""
    elsewhere, worker_thread = set(), run(threading.current_thread)
    heard, spoken = small("stt-tiny"), small("tts-tiny")

    def watched(name, function):
        def call(*args, **kwargs):
            if threading.current_thread() is not worker_thread:
                code = sys._getframe(1).f_code
                elsewhere.add((name, code.co_name, code.co_filename))
            return function(*args, **kwargs)

        return call

    for module in (mx, mx.random, mx.fast):
        for name, function in list(vars(module).items()):
            if type(function).__name__ == "nb_func" and name not in ("default_device",):
                monkeypatch.setattr(module, name, watched(name, function))
    pcm = np.zeros(9600, np.float32)
    with dsm_mlx.load_stt(heard, dtype="float16") as stt, stt.stream() as stream:
        stream.feed(pcm)
        stt.resume(stream.save()).close()
        stt.transcribe([pcm, pcm], sample_rate=24000)
    with dsm_mlx.load_tts(spoken, dtype="bfloat16") as tts, tts.stream() as stream:
        stream.feed("one two ")
        stream.fork().cancel()
        tts.synthesize("one", tts.voices()[0])
    codec = dsm_mlx.load_codec(heard)
    codec.decode(codec.encode(pcm[None, None]))
    codec.decoder()(codec.encoder()(pcm[None, None, :1920]))
    assert elsewhere == set()


# ---- finalisers


class Cycle:
    """A stream that only the collector can find; on its way out it closes another one."""

    def __init__(self, stream, other):
        self.stream, self.other, self.me = stream, other, self

    def __del__(self):
        self.other.close()


def dropped(stt, tts):
    Cycle(stt.stream(), tts.stream())
    Cycle(tts.stream(), stt.stream())


def test_a_stream_dropped_in_a_cycle_frees_its_row_on_whatever_thread(small):
    stt, tts = dsm_mlx.load_stt(small("stt-tiny")), dsm_mlx.load_tts(small("tts-tiny"))
    open_now = sum(len(batch.open) for batch in shared.batches())
    held = stt.stream()
    gc.disable()
    try:
        dropped(stt, tts)
        assert in_time(lambda: run(gc.collect))[0] > 0  # on the worker's thread

        def collect_with_locks():
            with held._session.changed, stt._opening, tts._opening, shared._start:
                return gc.collect()

        dropped(stt, tts)
        assert in_time(collect_with_locks)[0] > 0
    finally:
        gc.enable()
    held.close()
    # At its next turn each batch lets go of them.
    wait_for(lambda: sum(len(batch.open) for batch in shared.batches()) == open_now, 10)


# ---- Ctrl-C


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt."""


def test_no_interrupt_leaves_the_lock_of_a_session_taken():
    """`threading.Condition` would be left so by one of a hundred."""
    changed, over = Changed(), threading.Event()

    def busy():
        while not over.is_set():
            with changed:
                changed.notify_all()

    def interrupt(*_):
        raise Interrupted

    before = signal.signal(signal.SIGALRM, interrupt)
    other = threading.Thread(target=busy, daemon=True)
    other.start()
    try:
        for i in range(400):
            with pytest.raises(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + i * 1e-6)
                while True:
                    with changed:
                        pass
                    changed.wait_for(lambda: False, timeout=1e-5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    over.set()
    other.join(SOON)
    assert not other.is_alive()


def test_waiting_ends_when_it_is_true_or_the_time_is_up():
    changed, looks, over = Changed(), [], threading.Event()
    assert not changed.wait_for(lambda: False, timeout=0.01)
    assert changed.wait_for(lambda: True)

    def tell():
        while not over.is_set():
            changed.notify_all()

    def wait():
        try:
            return changed.wait_for(lambda: looks.append(1) or len(looks) > 5)
        finally:
            over.set()

    assert in_time(tell, wait) == [None, True]


# ---- rows


@pytest.mark.parametrize("turns", [1, 3])
def test_a_row_can_be_had_at_once_after_its_stream_is_closed(turns):
    """Also while a frame of the one that leaves is being computed."""
    worker, batch, _step, _ = made(turns=turns, limit=1)
    for _ in range(5):
        session = Counted(frames=10**6)
        batch.join(session)
        for _ in range(4):
            worker.turn()
        session.stop()
    while worker.turn():
        pass
    assert batch.open == []


def test_slow_first_steps_are_no_reason_to_warn(caplog):
    """They take memory and make tables; the line through the times is a guess still."""
    costs = iter([0.3, 0.2])
    worker, batch, *_ = made(cost=lambda rows: next(costs, 0.01))
    for _ in range(3):
        batch.join(Counted(frames=100))
    while worker.turn():
        pass
    assert caplog.records == []


def test_what_goes_wrong_between_frames_ends_its_session_alone():
    worker, batch, _step, _ = made()
    bad, good = Counted(frames=2), Counted(frames=2)
    bad.prepare = lambda: 1 / 0
    for session in (bad, good):
        batch.join(session)
    while worker.turn():
        pass
    assert isinstance(bad.error, ZeroDivisionError) and bad.gone
    assert good.heard == [1, 2] and batch.open == [good]


def test_the_state_of_a_closed_session_is_none():
    _worker, batch, *_ = made()
    session = Counted()
    batch.join(session)
    session.stop()
    with pytest.raises(ValueError, match="closed"):
        batch.value(session)


def test_nobody_waits_for_a_thread_that_has_failed(caplog):
    """It must not happen, but if it does, callers are told."""
    worker, batch, *_ = made()
    worker.clock = time.perf_counter
    session = Counted()
    batch.join(session)
    worker._piece = lambda: 1 / 0
    errors = in_time(lambda: worker.run(lambda: None))
    errors += in_time(lambda: worker.run(lambda: None))
    assert "ZeroDivisionError" in str(errors[1]) and "has failed" in str(session.error)
    assert in_time(worker.park) == [None]


# ---- the end


def test_who_asks_while_it_parks_is_told():
    """However the moments fall, nobody waits, and the thread lives to park."""
    worker, started, goes_on, asked = Worker(), *(threading.Event() for _ in range(3))
    ensure = worker._ensure_thread

    def slow_to_look():
        ensure()
        asked.wait(SOON)

    def piece():
        started.set()
        goes_on.wait(SOON)

    worker._ensure_thread = slow_to_look
    found = []

    def ask():
        try:
            worker.run(piece)
        except RuntimeError as error:
            found.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    assert started.wait(SOON)
    parking = threading.Thread(target=worker.park, daemon=True)
    parking.start()
    while worker._over is None:
        time.sleep(0.001)
    asked.set()
    asking.join(SOON)
    assert "exiting" in str(found[0])
    goes_on.set()
    parking.join(SOON)
    assert not parking.is_alive() and worker._parked.is_set()


def test_after_the_end_sessions_have_an_error_and_calls_are_refused():
    worker, batch, *_ = made()
    worker.clock = time.perf_counter
    batch.join(session := Counted())
    assert worker.run(lambda: 1) == 1
    worker.park()
    assert "exiting" in str(session.error)
    with pytest.raises(RuntimeError, match="exiting"):
        worker.run(lambda: 1)
