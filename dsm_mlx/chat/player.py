"""The loudspeaker's side: sound goes to a sink on a thread of its own, and can be stopped."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from dsm_mlx.chat.aside import Aside


class Sink(Protocol):
    """What plays. A `dsm_mlx.audio.Speaker` is one. Its methods may be called from any thread."""

    def write(self, chunk: np.ndarray, /) -> Any:
        """Play float32 (samples,); may block until there is room, which `stop` makes."""

    def drain(self) -> Any:
        """Block until all that was written has been heard, or dropped by `stop`."""

    def stop(self) -> Any:
        """Drop what has not been heard, at once, and begin to count anew. May return the seconds
        that were heard, if it knows better than `position`."""

    @property
    def position(self) -> float:
        """Seconds of what was written since the last `stop` that have been heard."""
        ...


class Plays(Protocol):
    """Where utterances go, in the event loop. A `Player` is one."""

    async def begin(self) -> int:
        """The number of a new utterance, from whose beginning the position counts."""

    async def write(self, turn: int, pcm: np.ndarray, /) -> None:
        """Play it, if that utterance has not been stopped; waits for room."""

    async def drain(self) -> None:
        """Nothing more comes of the utterance: until all was heard."""

    @property
    def position(self) -> float:
        """Seconds of the utterance that have been heard."""
        ...

    def stop(self) -> float:
        """Fall silent; the seconds of the utterance that were heard."""


class Player:
    """A sink, and what is written to it: one utterance after another.

    Each of them has a number; what is written for one that was stopped is dropped.
    """

    def __init__(self, sink: Sink):
        self._sink = sink
        self._aside = Aside("player")
        self._turn = 0

    async def begin(self) -> int:
        """The number of a new utterance, from whose beginning the position counts."""
        self._turn += 1
        turn = self._turn
        await self._aside.run(self._sink.stop)
        return turn

    async def write(self, turn: int, pcm: np.ndarray) -> None:
        """pcm: float32 (samples,). Waits for room."""
        await self._aside.run(self._write, turn, pcm)

    def _write(self, turn: int, pcm: np.ndarray) -> None:
        if turn == self._turn:
            self._sink.write(pcm)

    async def drain(self) -> None:
        """Until all was heard."""
        await self._aside.run(self._sink.drain)

    @property
    def position(self) -> float:
        """Seconds of the utterance that have been heard."""
        return float(self._sink.position)

    def stop(self) -> float:
        """Fall silent; the seconds of the utterance that were heard."""
        self._turn += 1
        position = self.position
        heard = self._sink.stop()
        self._aside.post(self._sink.stop)  # for what was just being written
        return position if heard is None else float(heard)

    def close(self) -> None:
        self._aside.close()
