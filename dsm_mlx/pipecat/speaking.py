"""One utterance: pieces of text to one speech stream, and its sound as a pipeline has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import suppress

import numpy as np

from dsm_mlx.audio import to_s16le
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.chat.speaking import end
from dsm_mlx.results import Word
from dsm_mlx.tts.stream import SpeechStream

_RATE = 24_000


class Utterance:
    """From its first piece of text to its last sound.

    ended: set when no more text comes.
    """

    def __init__(self, sample_rate: int):
        """sample_rate: of the sound that comes out, in Hz."""
        self._resample = Resampler(_RATE, sample_rate)
        self._text: asyncio.Queue[str | None] = asyncio.Queue()
        self._stream: SpeechStream | None = None
        self.ended = asyncio.Event()

    def write(self, text: str) -> None:
        """More text, cut anywhere."""
        self._text.put_nowait(text)

    def end(self) -> None:
        """No more text comes."""
        self._text.put_nowait(None)
        self.ended.set()

    def stop(self) -> None:
        """Fall silent: the row is free at the next step."""
        if self._stream is not None:
            self._stream.cancel()

    async def sound(
        self, opening: Awaitable[SpeechStream]
    ) -> AsyncGenerator[tuple[bytes, list[Word]], None]:
        """What is said, as 16-bit samples and the words that begin in them, in seconds since the
        first. Raises what ends the stream; it is cancelled whatever happens."""
        async with await opening as self._stream:
            writing = asyncio.ensure_future(self._write(self._stream))
            try:
                async for chunk in self._stream:
                    yield to_s16le(self._resample(chunk.audio)), chunk.words
                yield to_s16le(self._resample(_NOTHING, last=True)), []
            finally:
                await end(writing)

    async def _write(self, stream: SpeechStream) -> None:
        while (text := await self._text.get()) is not None:
            with suppress(ValueError):  # a tag that nobody knows is left out, the rest is said
                await stream.give_async(text)
        with suppress(ValueError):  # it ends inside a tag
            stream.end()


_NOTHING = np.zeros(0, np.float32)
