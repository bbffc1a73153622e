"""Rows in lockstep: each row says its own text in its own voice, and may join, rest and leave."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

from dsm_mlx.lm.tokens import UNGENERATED
from dsm_mlx.results import Chunk
from dsm_mlx.runtime import worker
from dsm_mlx.tts.session import Session
from dsm_mlx.tts.step import TtsStep


@dataclass
class _Heard:
    """The first half of a step, being computed: what `TtsStep.sample_text` gave, and for whom."""

    arrays: dict
    sessions: dict[int, Session]


class Batch:
    """A batch of up to `size` sessions over one state. One stream is a batch of one.

    Sessions of one batch must agree on guidance and on the length of their voices. All arrays are
    touched on the owner thread only; the methods may be called from any one thread at a time.
    """

    def __init__(self, step: TtsStep, size: int):
        self._step = step
        self._sessions: list[Session | None] = [None] * size
        self._state: dict | None = None
        self._conditions: dict = {}
        self._heard: _Heard | None = None

    @property
    def free(self) -> list[int]:
        """Rows that no session holds."""
        return [row for row, session in enumerate(self._sessions) if session is None]

    def join(self, row: int, session: Session, state: dict, conditions: dict) -> None:
        """Start a session in a row, from the state and conditions of a batch of one (see
        `TtsStep`); the other rows keep their place."""
        worker.run(self._join, row, session, state, conditions)

    def leave(self, row: int) -> None:
        """Free a row."""
        self._sessions[row] = None

    def close(self) -> None:
        """Give the memory back."""
        self._sessions = [None] * len(self._sessions)
        worker.run(self._forget)

    def run(self) -> dict[int, Chunk]:
        """One step of every row that can make one -> the sound that became complete, by row."""
        return worker.run(self._run)

    def _join(self, row: int, session: Session, state: dict, conditions: dict) -> None:
        size = len(self._sessions)
        if self._state is None:
            # Every row starts as a copy of the first to join: the shapes are what counts.
            self._state, self._conditions = (
                tree_map(lambda one: _copies(one, size), tree) for tree in (state, conditions)
            )
        elif size > 1:
            self._state = tree_map(lambda all_, one: _put(all_, one, row, size), self._state, state)
            self._conditions = tree_map(
                lambda all_, one: _put(all_, one, row, size), self._conditions, conditions
            )
        else:
            self._state, self._conditions = dict(state), conditions
        self._sessions[row] = session
        mx.eval(self._state, self._conditions)

    def _forget(self) -> None:
        self._state = self._heard = None
        self._conditions = {}
        mx.clear_cache()

    def _run(self) -> dict[int, Chunk]:
        heard = self._heard or self._listen()
        if heard is None:
            return {}
        pcm, sounding = self._speak(heard)
        # The next step is begun before the sound is read: the device never waits for us.
        self._heard = self._listen()
        if not sounding:
            return {}
        sound = np.array(pcm)
        return {row: session.deliver(sound[row]) for row, session in sounding.items()}

    def _listen(self) -> _Heard | None:
        """Start the first half of a step for every row that can go on."""
        sessions = {
            row: session
            for row, session in enumerate(self._sessions)
            if session and not session.done and not session.blocked
        }
        if not sessions:
            return None
        state = self._state
        heard, state["row"], state["lm"] = self._step.sample_text(
            state["row"], state["lm"], self._conditions, self._active(sessions)
        )
        mx.async_eval(heard, state["row"], state["lm"])
        return _Heard(heard, sessions)

    def _speak(self, heard: _Heard) -> tuple[mx.array | None, dict[int, Session]]:
        """The second half: the text is decided, the sound begun. Returns it and whose it is."""
        # Since then a session may have left, and another one taken its row.
        sessions = {row: s for row, s in heard.sessions.items() if self._sessions[row] is s}
        if not sessions:
            return None, {}
        sounding = {row: session for row, session in sessions.items() if session.sounds}
        depth = any(session.needs_depth for session in sessions.values())
        forced = self._forced(sessions)
        tokens = heard.arrays["text"].tolist()
        for row, session in sessions.items():
            tokens[row] = session.take(tokens[row])
        state = self._state
        codes, state["row"] = self._step.sample_audio(
            state["row"],
            heard.arrays,
            mx.array(tokens, mx.int32),
            forced,
            self._conditions,
            self._active(sessions),
            depth=depth,
        )
        if not sounding:
            mx.async_eval(state["row"])
            return None, {}
        pcm, state["decoder"] = self._step.decode(codes, state["decoder"], self._active(sounding))
        mx.async_eval(pcm, state["row"], state["decoder"])
        return pcm, sounding

    def _forced(self, sessions: dict[int, Session]) -> mx.array:
        forced = np.full((len(self._sessions), self._step.codebooks), UNGENERATED, np.int32)
        for row, session in sessions.items():
            codes = session.forced()
            if codes is not None:
                forced[row] = codes
        return mx.array(forced)

    def _active(self, rows: Collection[int]) -> mx.array | None:
        size = len(self._sessions)
        return None if len(rows) == size else mx.array([row in rows for row in range(size)])


def _copies(one: mx.array, size: int) -> mx.array:
    """(halves, ...) of one row -> (halves * size, ...) of all rows; halves is 1, or 2 with
    guidance."""
    return one if size == 1 else mx.repeat(one, size, axis=0)


def _put(all_: mx.array, one: mx.array, row: int, size: int) -> mx.array:
    """Replace one row in both halves."""
    here = mx.arange(all_.shape[0]) % size == row
    values = mx.repeat(one, size, axis=0)
    return mx.where(here.reshape(-1, *[1] * (all_.ndim - 1)), values, all_)
