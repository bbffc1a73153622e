"""A frame of a batch: from the text that its sessions have to a piece of sound of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import mlx.core as mx
import numpy as np

from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm.tokens import PADDING, UNGENERATED
from dsm_mlx.transformer import Shared
from dsm_mlx.tts.session import Session
from dsm_mlx.tts.step import TtsStep

Row = tuple[int, Session]


class TtsFrames:
    """What `runtime.Batch` runs for text to speech. A frame is three turns: the text token, the
    codes, the sound.

    name: of the model, for messages.
    """

    def __init__(self, step: TtsStep, name: str):
        self.step, self._name = step, name

    def frame(
        self, state: dict, sessions: Sequence[Session | None], active: mx.array | None
    ) -> Iterator[dict | None]:
        """See `runtime.batch.Step`."""
        step, rows = self.step, [(i, session) for i, session in enumerate(sessions) if session]
        for _, session in rows:
            session.begin_frame()
        sampled, state = step.sample_text(state, _shared(sessions), active)
        mx.async_eval(sampled, state)
        yield None
        rows = self._still(rows, sampled["finite"].tolist())
        sounding = [row for row in rows if row[1].sounds]
        depth = any(session.needs_depth for _, session in rows)
        forced = self._forced(len(sessions), rows)
        text = self._decide(len(sessions), rows, sampled["text"].tolist())
        codes, numbers, state = step.sample_audio(state, sampled, text, forced, active, depth=depth)
        del sampled
        mx.async_eval(codes, numbers, state)
        pcm = None
        if sounding:
            yield None
            among = [i for i, _ in sounding]
            count = len(sessions)
            some = mx.array([i in among for i in range(count)]) if len(among) < count else None
            pcm, state = step.decode(codes, state, some)
            mx.async_eval(pcm, state)
        known = [state]
        del state  # a second holder of the rings would cost a copy of them
        yield known.pop()
        if pcm is not None:
            sound = np.array(pcm)
            finite = np.isfinite(sound).all(axis=1) & np.array(numbers)
            for i, session in self._still(sounding, finite.tolist()):
                session.attempt(partial(session.deliver, sound[i]))
        for session in filter(None, sessions):
            with session.changed:
                session.end_frame()
            session.tell()

    def _still(self, rows: list[Row], finite: list[bool]) -> list[Row]:
        """Those who have not left since, and whose outputs are numbers."""
        for i, session in rows:
            if not finite[i]:
                session.fail(
                    CheckpointError(f"{self._name}: its outputs are not finite (damaged weights?)")
                )
        return [row for row in rows if not row[1].gone]

    def _forced(self, count: int, rows: list[Row]) -> mx.array:
        forced = np.full((count, self.step.codebooks), UNGENERATED, np.int32)
        for i, session in rows:
            codes = session.forced()
            if codes is not None:
                forced[i] = codes
        return mx.array(forced)

    def _decide(self, count: int, rows: list[Row], sampled: list[int]) -> mx.array:
        """What the model samples -> what it is given, by each script; padding for who has left."""
        given = [PADDING] * count

        def decide(i: int, session: Session) -> None:
            given[i] = session.take(sampled[i])

        for i, session in rows:
            session.attempt(partial(decide, i, session))
        return mx.array(given, mx.int32)


def _shared(sessions: Sequence[Session | None]) -> list[Shared] | None:
    """Who attends to what. Sessions of the same voice share its keys and values; so do, with
    guidance, all rows without conditions. A row of nobody attends to what the first one does."""
    someone = next(session for session in sessions if session)
    if not someone.keys_values:
        return None
    halves = len(someone.keys_values)
    groups: dict[int, tuple[list[int], list[dict]]] = {}
    for i, session in enumerate(sessions):
        for half, values in enumerate((session or someone).keys_values):
            rows, _ = groups.setdefault(id(values), ([], values))
            rows.append(i * halves + half)
    return list(groups.values())
