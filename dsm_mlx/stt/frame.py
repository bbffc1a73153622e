"""A frame of a batch: from the sound that its sessions have waiting to their events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from dsm_mlx.loading.weights import damaged
from dsm_mlx.runtime.device import read
from dsm_mlx.runtime.frame import most_positions
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.steering import Wish
from dsm_mlx.stt.step import SttOutput, SttStep, steer_of


class SttFrames:
    """What `runtime.Batch` runs for speech to text. A frame is one turn.

    name: of the model, for messages.
    """

    def __init__(self, step: SttStep, name: str):
        self.step, self._name = step, name

    def position(self, state: dict) -> int:
        """See `runtime.frame.Step`."""
        return int(state["lm"]["offset"].max().item())

    def frame(
        self,
        state: dict,
        sessions: Sequence[Session | None],
        active: mx.array | None,
        ahead: bool,
    ) -> Iterator[dict]:
        """See `runtime.frame.Step`."""
        pcm = np.zeros((len(sessions), self.step.mimi.config.frame_size), np.float32)
        wishes: list[Wish | None] = [None] * len(sessions)
        for row, session in enumerate(sessions):
            if session:
                with session.changed:
                    pcm[row], wishes[row] = session.next_frame(), session.wish()
        # These have to know a frame's token before the next one begins.
        early = [s for s in sessions if ahead and s and s.steering.wants_tokens]
        sampled = any(session is not None and session.sampled for session in sessions)
        seen = self.step.lm.seen(1 + most_positions(sessions))
        output, state = self.step(mx.array(pcm), state, active, sampled, seen, steer_of(wishes))
        mx.async_eval(output, state)
        known = [state]
        del state  # a second holder of the rings would cost a copy of them
        if early:
            self._deliver(sessions, output, early)
        yield known.pop()
        self._deliver(sessions, output, [s for s in sessions if s and s not in early])

    def _deliver(
        self, sessions: Sequence[Session | None], output: SttOutput, to: Sequence[Session]
    ) -> None:
        """Hand the outcome of a frame to some of its sessions."""
        columns = zip(*(part.tolist() for part in read(*output)), strict=True)
        for session, column in zip(sessions, columns, strict=True):
            if session and session in to and not session.gone:
                self._tell(session, *column)

    def _tell(self, session: Session, token, probability, pauses, finite) -> None:
        if not finite:
            session.fail(damaged(self._name))
            return
        session.attempt(lambda: session.take(token, pauses, probability))
        session.tell()
