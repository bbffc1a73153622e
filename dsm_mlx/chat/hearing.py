"""The person's side: from a source of sound to one transcript stream, for a whole conversation."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.chat.aside import Aside
from dsm_mlx.runtime.waiting import Call
from dsm_mlx.stt.stream import TranscriptStream


@dataclass(frozen=True)
class Cut:
    """Among the sound of a source: the person says that the turn ends here. kept: if not, what of
    it came before shall not have been said."""

    kept: bool


Source = Iterable[np.ndarray | Cut] | AsyncIterable[np.ndarray | Cut]

# Seconds that were given and not yet heard. What follows the end of a turn is heard after the
# silence that brings out its last word, so not much of it may be on its way already; but as much
# as is waited for before the level of a beginning is known.
_GIVEN = 0.7
_PIECE = 0.1  # seconds
_BLOCKS_KEPT = 500  # of which it is known when they came: 10 s of a microphone
_END: Any = object()


class Hearing:
    """Gives the sound of a source to a stream, or silence in its place while nothing shall be
    heard, so that time goes on."""

    def __init__(self, stream: TranscriptStream, source: Source, sample_rate: int, settle: float):
        """settle: seconds after `unmute` that are still silence."""
        self.stream = stream
        self._source, self._rate, self._settle = source, sample_rate, settle
        self._aside = Aside("source")
        self._progress = asyncio.Event()
        self._deaf_until = 0.0  # in seconds of sound
        self._came: deque[tuple[float, float]] = deque(maxlen=_BLOCKS_KEPT)

    async def give(self, room: Callable[[], Awaitable[None]]) -> None:
        """Until the source ends. Raises what it raises, and AudioError for what is no sound.

        room: waits until more may be heard.
        """
        size = round(_PIECE * self._rate)
        async with aclosing(self._blocks()) as blocks:
            async for block in blocks:
                await room()
                if isinstance(block, Cut):
                    await self._cut(block)
                    continue
                pcm = check_pcm(block, "sound of the source", self._rate)
                for start in range(0, len(pcm), size):
                    await self._give(pcm[start : start + size])

    async def _blocks(self) -> AsyncGenerator[np.ndarray | Cut, None]:
        if isinstance(self._source, AsyncIterable):
            async for block in self._source:
                yield block
            return
        blocks = await self._aside.run(iter, self._source)
        while (block := await self._aside.run(next, blocks, _END)) is not _END:
            yield block

    async def _give(self, pcm: np.ndarray) -> None:
        while self.stream.waiting > _GIVEN * self._rate:
            self._progress.clear()
            await self._progress.wait()
        await self.stream.ready()
        deaf = self.time < self._deaf_until
        self.stream.push(np.zeros_like(pcm) if deaf else pcm)
        self._came.append((self.time, time.monotonic()))

    async def _cut(self, cut: Cut) -> None:
        """There is `Mark(cut)` when all before it is known."""
        await self.stream.ready()
        self.stream.flush() if cut.kept else self.stream.reset()
        self.stream.mark(cut)

    def finish(self, value: object) -> None:
        """Bring out all words so far; then there is `Mark(value)`."""
        self.stream.flush()
        self.stream.mark(value)

    def progress(self) -> None:
        """Some of the sound has been heard."""
        self._progress.set()

    def mute(self) -> None:
        """Hear silence from now on."""
        self._deaf_until = float("inf")

    def unmute(self) -> None:
        """Hear the source again, in a moment."""
        self._deaf_until = min(self._deaf_until, self.time + self._settle)

    @property
    def time(self) -> float:
        """Seconds of sound given so far."""
        return self.stream.time

    def when(self, second: float) -> float:
        """What `time.monotonic` was when so many seconds of sound had come, as far as that is
        remembered."""
        if not self._came:
            return time.monotonic()
        at = bisect_right(self._came, (second, 0.0))
        later, then = self._came[min(at, len(self._came) - 1)]
        return then - (later - second if at < len(self._came) else 0.0)

    def close(self) -> None:
        self._aside.close()
        self.stream.close()


async def opened(open_stream: Callable[[], TranscriptStream]) -> TranscriptStream:
    """Open it in a thread. One that nobody waits for any more when it comes is closed."""
    opening = Call(open_stream)
    try:
        await opening.wait_async()
    except asyncio.CancelledError:
        Call(lambda: _close_late(opening))
        raise
    return opening.result()


def _close_late(opening: Call[TranscriptStream]) -> None:
    opening.wait()
    opening.result().close()
