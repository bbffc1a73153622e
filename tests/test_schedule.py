"""Who goes along in a step, counted in steps on a clock of the test's own.

A made-up model whose steps take a known time stands for a real one: here only the order counts.
"""

import random

import mlx.core as mx
import numpy as np
import pytest

from dsm_mlx import BusyError
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.schedule import PATIENCE, Cost, choose
from dsm_mlx.runtime.session import Session
from dsm_mlx.runtime.worker import Worker


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Counted(Session):
    """A session that only counts: `frames` wait; each adds 1 to its row, which it remembers."""

    def __init__(self, live=True, frames=0, start=0.0):
        super().__init__({"sum": mx.array([start]), "two": mx.full((2, 3), start)}, live=live)
        self.frames, self.heard, self.went = frames, [], []

    @property
    def ready(self):
        return self.frames > 0


class Adding:
    """A step that adds 1 to the rows that go along, in `turns` turns; `cost(rows)` seconds each."""

    def __init__(self, clock, cost=lambda rows: 0.01, turns=1):
        self.clock, self.cost, self.turns, self.steps = clock, cost, turns, []

    def position(self, state):
        return 0

    def frame(self, state, sessions, active, ahead):
        for session in sessions:
            if session:
                session.frames -= 1
        going = [session for session in sessions if session]
        self.steps.append(going)
        add = mx.ones(len(sessions)) if active is None else active.astype(mx.float32)
        state = {"sum": state["sum"] + add, "two": state["two"] + mx.repeat(add, 2)[:, None]}
        mx.eval(state)
        found = state["sum"].tolist()
        for turn in range(self.turns):
            self.clock.now += self.cost(len(sessions) if active is not None else len(going))
            if turn < self.turns - 1:
                yield None
        yield state
        for session, value in zip(sessions, found, strict=True):
            if session and not session.gone:
                session.heard.append(value)
                session.went.append(self.clock.now)


def made(turns=1, cost=lambda rows: 0.01, limit=16, masked=False):
    clock = Clock()
    worker, step = Worker(clock), Adding(clock, cost, turns)
    batch = Batch(step, "made up", limit, masked=masked)
    worker.add(batch)
    return worker, batch, step, clock


def on_a_cpu(rows):
    return 0.004 + 0.011 * rows


def on_a_gpu(rows):
    return 0.02 + 0.0002 * rows


def run(worker, turns=10_000):
    while turns and worker.turn():
        turns -= 1
    assert turns, "there is no end to it"


@pytest.mark.parametrize("masked", [False, True])
def test_every_frame_follows_the_one_before(masked):
    """Rows that join, rest, leave and grow: each session counts on from its own start."""
    worker, batch, *_ = made(masked=masked)
    rng, sessions = random.Random(3), []
    for _ in range(200):
        doing = rng.random()
        if doing < 0.3 and len(batch.open) < 12:
            session = Counted(rng.random() < 0.5, rng.randrange(4), start=100.0 * len(sessions))
            batch.join(session)
            sessions.append((session, 100.0 * len(sessions)))
        elif doing < 0.4 and batch.open:
            rng.choice(batch.open).stop()
        for session in batch.open:
            session.frames += rng.randrange(2)
        for _ in range(rng.randrange(4)):
            worker.turn()
    run(worker)
    assert len(sessions) > 30 and sum(len(s.heard) for s, _ in sessions) > 300
    for session, start in sessions:
        assert session.heard == [start + i + 1 for i in range(len(session.heard))]


@pytest.mark.parametrize("cost", [on_a_cpu, on_a_gpu])
def test_a_live_frame_is_in_the_next_step(cost):
    worker, batch, step, _clock = made(cost=cost)
    files = [Counted(live=False, frames=10**6) for _ in range(8)]
    live = [Counted() for _ in range(4)]
    for session in files + live:
        batch.join(session)
    rng = random.Random(0)
    for _ in range(500):
        for session in rng.sample(live, rng.randrange(1, 4)):
            session.frames += 1
        waiting = [session for session in live if session.frames]
        assert worker.turn()
        assert set(waiting) <= set(step.steps[-1])
        if rng.random() < 0.5:
            assert worker.turn()  # nobody live waits


@pytest.mark.parametrize("turns", [1, 3])
def test_a_live_frame_waits_for_one_turn_of_another_model(turns):
    worker, busy, _busy_step, clock = made(turns=turns)
    step = Adding(clock)
    batch = Batch(step, "the other one", 4, masked=False)
    worker.add(batch)
    busy.join(Counted(frames=10**6))
    live = Counted()
    batch.join(live)
    for _ in range(100):
        worker.turn()
        live.frames += 1
        done = len(live.heard)
        worker.turn()
        if len(live.heard) == done:  # the other one's frame waited longer, by one turn
            worker.turn()
        assert len(live.heard) == done + 1


@pytest.mark.parametrize("cost", [on_a_cpu, on_a_gpu, lambda rows: 0.09 * rows])
def test_recordings_never_stop(cost):
    """However busy the live streams keep it, and even where it cannot keep up with them."""
    worker, batch, _step, clock = made(cost=cost)
    files = [Counted(live=False, frames=10**6) for _ in range(8)]
    live = [Counted(frames=10**6) for _ in range(8)]
    for session in files + live:
        batch.join(session)
    for _ in range(600):
        worker.turn()
    longest = max(cost(16), 0.02) * 2
    for session in files:
        gaps = np.diff([100.0, *session.went, clock.now])
        assert gaps.max() <= PATIENCE + longest


def test_recordings_of_another_model_never_stop():
    worker, batch, _step, clock = made()
    other = Batch(Adding(clock), "the other one", 4, masked=False)
    worker.add(other)
    batch.join(Counted(frames=10**6))
    recording = Counted(live=False, frames=10**6)
    other.join(recording)
    for _ in range(1000):
        worker.turn()
    assert np.diff([100.0, *recording.went, clock.now]).max() <= PATIENCE + 0.05


def test_recordings_of_another_model_take_turns_beside_live_streams():
    """Eight of them never go all at once, which would keep a live frame waiting for eight rows."""
    worker, batch, _step, clock = made(cost=lambda rows: 0.02)
    step = Adding(clock, on_a_cpu)
    other = Batch(step, "the other one", 8, masked=False)
    worker.add(other)
    batch.join(Counted(frames=10**6))
    files = [Counted(live=False, frames=10**6) for _ in range(8)]
    for session in files:
        other.join(session)
    for _ in range(1000):
        worker.turn()
    assert max(len(going) for going in step.steps[10:]) <= 2
    for session in files:
        assert np.diff([100.0, *session.went, clock.now]).max() <= PATIENCE + 0.1


def test_what_was_computed_is_read_although_another_models_recordings_run():
    worker, batch, _step, clock = made()
    other = Batch(Adding(clock), "the other one", 4, masked=False)
    worker.add(other)
    long, short = Counted(live=False, frames=10**6), Counted(live=False, frames=3)
    batch.join(long)
    other.join(short)
    for _ in range(200):
        worker.turn()
    assert short.heard == [1, 2, 3]


def test_a_live_frame_does_not_wait_for_recordings_while_its_batch_is_in_a_frame_of_one():
    """A frame of a recording has three turns; who came meanwhile makes the rest of it urgent."""
    worker, batch, _step, clock = made()  # with recordings of its own, always ready
    other = Batch(Adding(clock, turns=3), "the other one", 4, masked=False)
    worker.add(other)
    for _ in range(4):
        batch.join(Counted(live=False, frames=10**6))
    recording, live = Counted(live=False, frames=10**6), Counted()
    other.join(recording)
    for _ in range(50):
        while other._frame is None:
            worker.turn()
        other.join(live) if live not in other.open else None
        live.frames += 1
        done, turns = len(live.heard), 0
        while len(live.heard) == done:
            worker.turn()
            turns += 1
        assert turns <= 2 + 3


def test_live_steps_stay_short_on_a_cpu_and_all_ride_along_on_a_gpu():
    for cost, riding in ((on_a_cpu, False), (on_a_gpu, True)):
        worker, batch, step, _clock = made(cost=cost)
        files = [Counted(live=False, frames=10**6) for _ in range(8)]
        live = [Counted() for _ in range(4)]
        for session in files + live:
            batch.join(session)
        for i in range(400):
            if i % 3 == 0:
                for session in live:
                    session.frames += 1
            worker.turn()
        later = [going for going in step.steps[100:] if any(s.live for s in going)]
        rode = [sum(not s.live for s in going) for going in later]
        assert (np.mean(rode) > 7) == riding
        assert riding or max(rode) <= 1


def test_alone_all_recordings_go_together():
    worker, batch, step, _ = made(cost=on_a_cpu)
    for _ in range(8):
        batch.join(Counted(live=False, frames=5))
    run(worker)
    assert [len(going) for going in step.steps] == [8] * 5


@pytest.mark.parametrize("turns", [1, 3])
def test_who_leaves_is_gone_after_two_steps(turns):
    worker, batch, step, _ = made(turns=turns)
    sessions = [Counted(frames=10**6) for _ in range(4)]
    for session in sessions:
        batch.join(session)
    for _ in range(7):
        worker.turn()
    steps = len(step.steps)
    worker.post(sessions[1].stop)
    for _ in range(2 * turns):
        worker.turn()
    assert sessions[1] not in batch.open
    assert all(sessions[1] not in going for going in step.steps[steps + 1 :])


def test_a_live_session_takes_the_row_of_a_recording_which_goes_on_later():
    worker, batch, _step, _ = made(limit=2)
    files = [Counted(live=False, frames=20, start=1000.0 * i) for i in range(3)]
    for session in files:
        batch.join(session)  # the third one waits
    for _ in range(5):
        worker.turn()
    live = [Counted(frames=3), Counted(frames=3)]
    for session in live:
        batch.join(session)
    with pytest.raises(BusyError, match="all 2 streams are in use"):
        batch.join(Counted())
    for _ in range(5):
        worker.turn()
    assert [session.heard for session in live] == [[1, 2, 3]] * 2
    for session in live:
        session.stop()
    for _ in range(200):
        worker.turn()
        for session in files:
            if len(session.heard) == 20:
                session.stop()
    for i, session in enumerate(files):
        assert session.heard == [1000.0 * i + k + 1 for k in range(20)]


def test_rows_double_and_are_given_back():
    worker, batch, _step, clock = made()
    sessions = [Counted(frames=2) for _ in range(5)]
    for session in sessions:
        batch.join(session)
    assert len(batch.sessions) == 8
    run(worker)
    for session in sessions[:3]:
        session.stop()
    batch.tidy(clock.now)
    clock.now += 29
    batch.tidy(clock.now)
    assert len(batch.sessions) == 8
    clock.now += 2
    batch.tidy(clock.now)
    assert len(batch.sessions) == 4
    for session in sessions[3:]:
        session.frames = 2
    run(worker)
    assert [session.heard for session in sessions[3:]] == [[1, 2, 3, 4]] * 2
    for session in sessions:
        session.stop()
    batch.tidy(clock.now)
    assert batch.sessions == []


def test_no_memory_for_more_rows_is_the_newcomers_trouble(monkeypatch):
    worker, batch, *_ = made()
    first = Counted(frames=3)
    batch.join(first)
    worker.turn()
    real, calls = mx.concatenate, []

    def concatenate(arrays, axis=0):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("[malloc] Unable to allocate")
        return real(arrays, axis)

    monkeypatch.setattr(mx, "concatenate", concatenate)
    with pytest.raises(BusyError):
        batch.join(Counted())
    monkeypatch.undo()
    run(worker)
    assert first.heard == [1, 2, 3]
    batch.join(Counted(frames=1))
    run(worker)


def test_a_step_that_raises_ends_its_batch_and_no_other():
    worker, batch, step, clock = made()
    other = Batch(Adding(clock), "the other one", 4, masked=False)
    worker.add(other)
    bad, good = Counted(frames=2), Counted(frames=5)
    batch.join(bad)
    other.join(good)
    step.cost = lambda rows: 1 / 0
    run(worker)
    assert bad.gone and "a step failed (ZeroDivisionError" in str(bad.error)
    assert good.heard == [1, 2, 3, 4, 5] and good.error is None
    step.cost = lambda rows: 0.01
    anew = Counted(frames=2, start=7.0)
    batch.join(anew)
    run(worker)
    assert anew.heard == [8, 9]


def test_a_machine_that_cannot_keep_up_says_so_once(caplog):
    worker, batch, *_ = made(cost=lambda rows: 0.05 * rows)
    for _ in range(4):
        batch.join(Counted(frames=30))
    run(worker)
    assert sum("fall behind" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("line", [on_a_cpu, on_a_gpu, lambda rows: 0.003 * rows])
def test_the_cost_is_learnt(line):
    cost, rng = Cost(), random.Random(1)
    for _ in range(300):
        rows = rng.randrange(1, 9)
        cost.learn(rows, line(rows) * rng.uniform(0.9, 1.1) * (20 if rng.random() < 0.01 else 1))
    for rows in (1, 4, 8, 12):
        assert cost(rows) == pytest.approx(line(rows), rel=0.3)


def test_the_first_step_of_a_number_of_rows_tells_nothing():
    """Where steps are compiled it takes seconds."""
    cost = Cost()
    for rows in (1, 8):
        cost.learn(rows, 30.0)
        for _ in range(3):
            cost.learn(rows, 0.01)
    assert cost(1) == pytest.approx(0.01) and cost(8) == pytest.approx(0.01)
    assert cost.steps == 8 and cost.seconds == pytest.approx(60.06)


def test_before_anything_is_known_the_live_go_and_one_recording():
    assert choose([1], [2, 3], [0, 0], Cost(), live_open=True, since_file=0.0) == [1]
    assert choose([], [2, 3], [0, 0], Cost(), live_open=True, since_file=0.0) == [2]
    assert choose([], [2, 3], [0, 0], Cost(), live_open=False, since_file=0.0) == [2, 3]
