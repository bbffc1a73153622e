"""A frame of a batch: from the sound that its sessions have waiting to their events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import mlx.core as mx
import numpy as np

from dsm_mlx.errors import CheckpointError
from dsm_mlx.runtime.device import read
from dsm_mlx.runtime.frame import most_positions
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import SttStep


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
        for row, session in enumerate(sessions):
            if session:
                with session.changed:
                    pcm[row] = session.next_frame()
        sampled = any(session is not None and session.sampled for session in sessions)
        seen = self.step.lm.seen(1 + most_positions(sessions))
        output, state = self.step(mx.array(pcm), state, active, sampled, seen)
        mx.async_eval(output, state)
        known = [state]
        del state  # a second holder of the rings would cost a copy of them
        yield known.pop()
        columns = zip(*(part.tolist() for part in read(*output)), strict=True)
        for session, column in zip(sessions, columns, strict=True):
            if session and not session.gone:
                self._deliver(session, *column)

    def _deliver(self, session: Session, token, probability, pauses, finite) -> None:
        if not finite:
            session.fail(
                CheckpointError(f"{self._name}: its outputs are not finite (damaged weights?)")
            )
            return
        session.attempt(lambda: session.take(token, pauses, probability))
        session.tell()
