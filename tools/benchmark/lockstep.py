"""Sessions of one batch that go together, frame by frame, on the thread that asks."""

from __future__ import annotations

import time
from typing import Protocol

from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.frame import Step
from dsm_mlx.runtime.session import Session
from dsm_mlx.runtime.waiting import raise_error
from dsm_mlx.runtime.worker import Worker


class Player(Protocol):
    """A session of `dsm_mlx.runtime` that is given work by the frame."""

    def give(self, frames: int) -> None:
        """Have so many more frames wait."""
        ...

    @property
    def resting(self) -> bool:
        """Whether all that it was given is done."""
        ...


class Lockstep:
    """A batch with a worker of its own, so that each step is one that was asked for.

    rows: the most sessions at a time.
    """

    def __init__(self, step: Step, name: str, rows: int):
        self._worker, self._batch = Worker(), Batch(step, name, limit=rows)
        self._worker.add(self._batch)
        self.sessions: list[Session | Player] = []

    def join(self, session: Session | Player) -> None:
        """Let a session take part from the next frame on."""
        self._batch.join(session)
        self.sessions.append(session)

    def leave(self, session: Session | Player) -> None:
        """Its row is free at the next frame."""
        self.sessions.remove(session)
        session.stop()

    def run(self, frames: int = 1) -> float:
        """Do so many frames of each session, all given at once; returns the seconds it took.

        Raises what ended a session.
        """
        for session in self.sessions:
            session.give(frames)
        start = time.perf_counter()
        while not all(session.resting for session in self.sessions):
            self._worker.turn()
            for session in self.sessions:
                raise_error(session)
        return time.perf_counter() - start

    def close(self) -> None:
        """End all sessions and give their rows back."""
        for session in list(self.sessions):
            self.leave(session)
        self._worker.turn()
