"""Rows in lockstep: each row hears its own stream and may join, rest and leave at any frame."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from dsm_mlx.results import Event
from dsm_mlx.runtime import worker
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import SttStep


@dataclass
class _Pending:
    """A frame that is being computed: arrays to be read, and whom they are for."""

    text: mx.array
    pauses: mx.array
    rows: list[int]


class Batch:
    """A batch of up to `size` sessions over one state. One stream is a batch of one.

    All arrays are touched on the owner thread only; the methods may be called from any one
    thread at a time.
    """

    def __init__(self, step: SttStep, size: int):
        self._step = step
        self._sessions: list[Session | None] = [None] * size
        self._state: dict | None = None

    @property
    def free(self) -> list[int]:
        """Rows that no session holds."""
        return [row for row, session in enumerate(self._sessions) if session is None]

    def join(self, newcomers: dict[int, Session], condition: mx.array | None = None) -> None:
        """Start sessions afresh in the given rows; the other rows keep their place."""
        for row, session in newcomers.items():
            self._sessions[row] = session
        worker.run(self._start, list(newcomers), condition)

    def leave(self, row: int) -> None:
        """Free a row."""
        self._sessions[row] = None

    def close(self) -> None:
        """Give the memory back."""
        self._sessions = [None] * len(self._sessions)
        worker.run(self._forget)

    def run(self, frames: int) -> list[list[Event]]:
        """Hear up to `frames` frames of every row that has them -> the events of each row."""
        return worker.run(self._run, frames)

    def _start(self, rows: list[int], condition: mx.array | None) -> None:
        size = len(self._sessions)
        if self._state is None:
            self._state = self._step.init_state(size, condition)
        wanted = mx.array([row in rows for row in range(size)])
        state, self._state = self._state, None
        self._state = self._step.start(state, wanted, condition)
        del state
        mx.eval(self._state)

    def _forget(self) -> None:
        self._state = None
        mx.clear_cache()

    def _run(self, frames: int) -> list[list[Event]]:
        events: list[list[Event]] = [[] for _ in self._sessions]
        pending = None
        for _ in range(frames):
            following = self._dispatch()
            # Reading one frame while the next is computed: the device never waits for us.
            if pending:
                self._deliver(pending, events)
            pending = following
            if pending is None:
                break
        if pending:
            self._deliver(pending, events)
        return events

    def _dispatch(self) -> _Pending | None:
        """Start computing the next frame of every row that has one."""
        frames = [session.next_frame() if session else None for session in self._sessions]
        rows = [row for row, frame in enumerate(frames) if frame is not None]
        if not rows:
            return None
        silence = np.zeros_like(frames[rows[0]])
        pcm = mx.array(np.stack([silence if frame is None else frame for frame in frames]))
        active = None
        if len(rows) < len(frames):
            active = mx.array([frame is not None for frame in frames])
        (text, pauses), self._state = self._step(pcm, self._state, active)
        mx.async_eval(text, pauses, self._state)
        return _Pending(text, pauses, rows)

    def _deliver(self, pending: _Pending, events: list[list[Event]]) -> None:
        tokens, pauses = pending.text.tolist(), pending.pauses.tolist()
        for row in pending.rows:
            session = self._sessions[row]
            if session:
                events[row] += session.take(tokens[row], pauses[row])
