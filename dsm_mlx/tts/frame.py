"""A frame of a batch: from the text that its sessions have to a piece of sound of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import mlx.core as mx
import numpy as np

from dsm_mlx.lm.tokens import PADDING, UNGENERATED
from dsm_mlx.loading.weights import damaged
from dsm_mlx.runtime.device import read, settle
from dsm_mlx.runtime.frame import most_positions
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

    def position(self, state: dict) -> int:
        """See `runtime.frame.Step`."""
        return int(state["lm"]["offset"].max().item())

    def frame(
        self,
        state: dict,
        sessions: Sequence[Session | None],
        active: mx.array | None,
        ahead: bool,
    ) -> Iterator[dict | None]:
        """See `runtime.frame.Step`."""
        step, rows = self.step, [(i, session) for i, session in enumerate(sessions) if session]
        for _, session in rows:
            session.begin_frame()
        sounding = [row for row in rows if row[1].sounds]
        depth = any(session.needs_depth for _, session in rows)
        offered, forced = self._offered(len(sessions), rows), self._forced(len(sessions), rows)
        seen = step.lm.seen(1 + most_positions(sessions))
        sampled, state = step.sample_text(state, _shared(sessions), active, offered, seen)
        mx.async_eval(sampled, state)
        yield None
        settle(sampled)
        asked, given = [sampled["text"], sampled["finite"]], sampled["given"]
        codes, numbers, state = step.sample_audio(
            state, sampled, given, forced, active, depth=depth
        )
        del sampled
        mx.async_eval(codes, numbers, state)
        made = []
        if sounding:
            yield None
            among = [i for i, _ in sounding]
            count = len(sessions)
            some = mx.array([i in among for i in range(count)]) if len(among) < count else None
            pcm, state = step.decode(codes, state, some)
            mx.async_eval(pcm, state)
            made = [pcm, numbers]
        known = [state]
        del state  # a second holder of the rings would cost a copy of them
        if ahead:
            self._take(rows, *read(*asked))  # while the device is still busy with the sound
            asked = []
        yield known.pop()
        found = read(*asked, *made)
        if asked:
            self._take(rows, *found[:2])
        if made:
            self._deliver(sounding, *found[-2:])
        for session in filter(None, sessions):
            with session.changed:
                session.end_frame()
            session.tell()

    def _still(self, rows: list[Row], finite: list[bool]) -> list[Row]:
        """Those who have not left since, and whose outputs are numbers."""
        for i, session in rows:
            if not finite[i]:
                session.fail(damaged(self._name))
        return [row for row in rows if not row[1].gone]

    def _forced(self, count: int, rows: list[Row]) -> mx.array:
        forced = np.full((count, self.step.codebooks), UNGENERATED, np.int32)
        for i, session in rows:
            forced[i] = session.forced()
        return mx.array(forced)

    def _offered(self, count: int, rows: list[Row]) -> mx.array:
        """What each script gives if the model asks for a word, and what if not: (rows, 2)."""
        offered = np.full((count, 2), PADDING, np.int32)

        def offer(i: int, session: Session) -> None:
            offered[i] = session.offered

        for i, session in rows:
            session.attempt(partial(offer, i, session))
        return mx.array(offered)

    def _take(self, rows: list[Row], text: np.ndarray, finite: np.ndarray) -> None:
        for i, session in self._still(rows, finite.tolist()):
            session.attempt(partial(session.take, int(text[i])))

    def _deliver(self, rows: list[Row], pcm: np.ndarray, numbers: np.ndarray) -> None:
        finite = np.isfinite(pcm).all(axis=1) & numbers
        for i, session in self._still(rows, finite.tolist()):
            session.attempt(partial(session.deliver, pcm[i]))


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
