"""One transcript stream behind a queue, so that a pipeline never waits to give sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np

from dsm_mlx.chat.hearing import Cut, Hearing
from dsm_mlx.chat.speaking import end
from dsm_mlx.results import Event, Pause
from dsm_mlx.stt.stream import TranscriptStream

MOST_SECONDS = 20.0  # of sound that waits, for a model that is being loaded or is behind
_RATE = 24_000


class Listening:
    """From its first sound to its end.

    Sound that comes before there is a stream waits for it. What is heard is told in order, each
    event when the one before has been dealt with.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[np.ndarray | Cut | None] = asyncio.Queue()
        self._samples = 0  # in the queue
        self._hearing: Hearing | None = None

    def give(self, pcm: np.ndarray) -> bool:
        """More sound, float32 (samples,) at 24 kHz; False, and nothing of it is heard, where too
        much waits."""
        if self._samples > MOST_SECONDS * _RATE:
            return False
        self._samples += pcm.size
        self._queue.put_nowait(pcm)
        return True

    def flush(self) -> None:
        """Bring out the words of all the sound so far; then there is a `Mark`."""
        self._queue.put_nowait(Cut(kept=True))

    def finish(self) -> None:
        """The same, without waiting for sound that has not been given to the model."""
        if self._hearing is not None:
            self._hearing.finish(None)

    def end(self) -> None:
        """No more sound comes: the rest is told, and `run` returns."""
        self._queue.put_nowait(None)

    async def run(self, stream: TranscriptStream, tell: Callable[[Event], Awaitable[None]]) -> None:
        """Until the end. Raises what ended the stream before; it is closed whatever happens."""
        self._hearing = hearing = Hearing(stream, self._blocks(), _RATE, settle=0.0)
        giving = asyncio.ensure_future(self._give(stream, hearing))
        try:
            async for event in stream:
                if isinstance(event, Pause):
                    hearing.progress()
                await tell(event)
            await giving
        finally:
            hearing.close()
            await end(giving)

    async def _give(self, stream: TranscriptStream, hearing: Hearing) -> None:
        await hearing.give(_at_once)
        stream.end()

    async def _blocks(self) -> AsyncIterator[np.ndarray | Cut]:
        while (item := await self._queue.get()) is not None:
            if isinstance(item, np.ndarray):
                self._samples -= item.size
            yield item


async def _at_once() -> None:
    """There is always room: `Hearing` itself gives a stream no more than a moment's sound."""
