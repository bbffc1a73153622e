"""Text to speech as Wyoming has it: a whole text, or one that is still being written."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.event import Event
from wyoming.tts import SynthesizeStopped

from dsm_mlx import Chunk
from dsm_mlx.audio import to_s16le
from dsm_mlx.serve.models import served
from dsm_mlx.serve.sessions import first_of
from dsm_mlx.serve.speech import chunks_of, end, opened, say
from dsm_mlx.serve.wyoming import events
from dsm_mlx.tts.stream import SpeechStream

if TYPE_CHECKING:
    from dsm_mlx.serve.wyoming.client import Client

TYPES = ("synthesize", "synthesize-start")
_FORMAT = {"rate": 24_000, "width": 2, "channels": 1}


async def speak(client: Client, event: Event) -> None:
    """A text, to the end of its sound. BusyError where no slot is free for too long."""
    metrics, sound = client.state.metrics.tts, _Sound(client)
    metrics.connections += 1
    try:
        await (_whole if event.type == "synthesize" else _live)(client, event, sound)
    finally:
        metrics.steps.add(sound.frames)


async def _whole(client: Client, event: Event, sound: _Sound) -> None:
    text = events.string(event.data, "text")
    client.check_text(len(text))
    voice = client.state.models.voice(events.voice(event.data))
    async with aclosing(chunks_of(client.state, text, voice)) as chunks:
        async for chunk in chunks:
            await sound.add(chunk)
    await sound.end()


async def _live(client: Client, event: Event, sound: _Sound) -> None:
    """A client that does not know this way of speaking sends the whole text, too, as `synthesize`,
    which does not count."""
    state = client.state
    voice = state.models.voice(events.voice(event.data))
    with (
        await served(state.models.speakers).wait(state.options.limits.wait) as slot,
        state.sessions.running(),
    ):
        stream = await opened(slot, voice)
        await first_of(_take(client, stream), _tell(stream, sound))
    await client.send(SynthesizeStopped().event())


async def _take(client: Client, stream: SpeechStream) -> None:
    """The text to the stream, until it stops. Pieces are cut anywhere."""
    size = 0
    while (event := await client.next()) is not events.STOP and event.type != "synthesize-stop":
        if event.type == "synthesize-chunk":
            text = events.string(event.data, "text")
            size += len(text)
            client.check_text(size)
            say(stream, text)
    end(stream)
    await asyncio.Event().wait()


async def _tell(stream: SpeechStream, sound: _Sound) -> None:
    async for chunk in stream:
        await sound.add(chunk)
    await sound.end()


class _Sound:
    """What is said, as events. Times are milliseconds of it."""

    def __init__(self, client: Client):
        self._client = client
        self.frames = self._samples = 0

    async def add(self, chunk: Chunk) -> None:
        await self._begin()
        self.frames += 1
        audio = to_s16le(chunk.audio)
        await self._send(AudioChunk(**_FORMAT, audio=audio, timestamp=self._milliseconds))
        self._samples += chunk.audio.size

    async def end(self) -> None:
        await self._begin()
        await self._send(AudioStop(timestamp=self._milliseconds))

    async def _begin(self) -> None:
        if not self._samples:
            await self._send(AudioStart(**_FORMAT, timestamp=0))

    async def _send(self, event: AudioStart | AudioChunk | AudioStop) -> None:
        await self._client.send(event.event())

    @property
    def _milliseconds(self) -> int:
        return self._samples * 1000 // _FORMAT["rate"]
