"""Speech to text as Wyoming has it: sound of any kind in, words as they become known."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np
from wyoming.asr import Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.event import Event

from dsm_mlx import AudioError, Pause, Word
from dsm_mlx.audio.raw import Decoder
from dsm_mlx.serve.models import served
from dsm_mlx.serve.sessions import first_of
from dsm_mlx.serve.wyoming.events import STOP
from dsm_mlx.stt.stream import TranscriptStream

if TYPE_CHECKING:
    from dsm_mlx.serve.wyoming.client import Client

TYPES = ("audio-start", "audio-chunk")
"""What begins an utterance. `transcribe` names a model and a language, of which there is no choice.
"""

_PIECE = 1 << 16  # bytes: at the lowest rate, minutes already
_ENCODINGS = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}


async def listen(client: Client, event: Event) -> None:
    """One utterance, whose first event has come, to its end. BusyError where no slot is free."""
    metrics = client.state.metrics.stt
    slots = served(client.state.models.listeners)
    with metrics.counted(slots.take) as slot, client.state.sessions.running():
        listening = _Listening(client, await slot.open())
        try:
            await client.send(TranscriptStart().event())
            await first_of(listening.give(event), listening.tell())
        finally:
            metrics.steps.add(listening.steps)


class _Listening:
    def __init__(self, client: Client, stream: TranscriptStream):
        self._client, self._stream = client, stream
        self._format: tuple[object, ...] = ()
        self._decoder: Decoder | None = None
        self._given = False
        self.steps = 0

    async def give(self, event: Event) -> None:
        """The sound to the stream, until it stops."""
        while event is not STOP and event.type != "audio-stop":
            if event.type == "audio-chunk":
                payload = event.payload or b""
                for start in range(0, len(payload), _PIECE):
                    await self._push(self._decoded(event, payload[start : start + _PIECE]))
            event = await self._client.next()
        if self._decoder is not None:
            await self._push(self._decoder.rest())
        if not self._given:  # of which no model can make anything
            await self._finish("")
            return
        self._stream.end()
        await asyncio.Event().wait()

    def _decoded(self, event: Event, data: bytes) -> np.ndarray:
        """Every chunk tells what it is; that may change."""
        format = tuple(event.data.get(key) for key in ("rate", "width", "channels"))
        before = np.zeros(0, np.float32)
        if self._decoder is None or format != self._format:
            if self._decoder is not None:
                before = self._decoder.rest()
            self._format, self._decoder = format, _decoder(*format)
        return np.concatenate([before, self._decoder(data)])

    async def _push(self, pcm: np.ndarray) -> None:
        for start in range(0, len(pcm), 24_000):
            await self._stream.ready()
            self._stream.push(pcm[start : start + 24_000])
            self._given = True

    async def tell(self) -> None:
        """The words as they come, then all of them."""
        words: list[str] = []
        async for event in self._stream:
            if isinstance(event, Pause):
                self.steps += 1
                self._client.at_work()
            elif isinstance(event, Word):
                text = f" {event.text}" if words else event.text
                words.append(text)
                await self._client.send(TranscriptChunk(text).event())
        await self._finish("".join(words))

    async def _finish(self, text: str) -> None:
        await self._client.send(Transcript(text).event())
        await self._client.send(TranscriptStop().event())


def _decoder(rate: object, width: object, channels: object) -> Decoder:
    if not isinstance(width, int) or width not in _ENCODINGS:
        raise AudioError("width: expected 1 to 4 bytes a sample")
    return Decoder(_ENCODINGS[width], rate, channels)
