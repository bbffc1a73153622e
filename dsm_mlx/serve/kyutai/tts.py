"""Text to speech as moshi-server has it: text through a socket, sound back while it is made."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket

from dsm_mlx import BusyError, CheckpointError
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.serve.kyutai.wishes import Wishes, cleaned
from dsm_mlx.serve.models import NO_SLOT, Slot, served
from dsm_mlx.serve.opus import OggOpusWriter, OpusError
from dsm_mlx.serve.sessions import Idle, close, first_of, receive
from dsm_mlx.serve.speech import end, opened, say
from dsm_mlx.serve.state import State, state_of
from dsm_mlx.tts.stream import SpeechStream

_EOS = b"\0"


async def socket(websocket: WebSocket) -> None:
    """`/api/tts_streaming`."""
    state = state_of(websocket)
    metrics = state.metrics.tts
    try:
        wishes = Wishes.of(websocket.query_params, state.models)
    except ValueError as error:
        raise HTTPException(400, f"a bad value of {error}") from None
    await websocket.accept()
    try:
        encoder = Encoder.of(wishes.format)
        slot = metrics.counted(served(state.models.speakers).take)
    except OpusError as error:
        await _end(websocket, wishes, str(error))
        return
    except BusyError:
        await _end(websocket, wishes, NO_SLOT)
        return
    with slot, state.sessions.running():
        if wishes.packed:
            await websocket.send_bytes(messages.READY)
        speaking = Speaking(websocket, slot, state, wishes, encoder)
        try:
            await speaking.run()
        finally:
            metrics.steps.add(speaking.frames)


class Speaking:
    """One client, from Ready to the end.

    One task reads what the client sends, so that its leaving is seen at once; the other opens the
    stream when it is known which voice it is to have, and sends the sound.
    """

    def __init__(
        self,
        websocket: WebSocket,
        slot: Slot[SpeechStream],
        state: State,
        wishes: Wishes,
        encoder: Encoder,
    ):
        self._websocket, self._slot, self._state = websocket, slot, state
        self._wishes, self._encoder = wishes, encoder
        self._voice: str | np.ndarray | None = wishes.voice
        self._text: deque[str] = deque()  # that came before the stream was open
        self._begun, self._ended = asyncio.Event(), asyncio.Event()
        self._characters = 0
        self._idle = Idle(state.options.limits.speech_idle)
        self._stream: SpeechStream | None = None
        self.frames = 0

    async def run(self) -> None:
        try:
            works = self._read(), self._speak(), self._stop()
            await first_of(*works, self._idle.too_long())
            await close(self._websocket)
        except BusyError:  # no memory for another row
            await self._end(NO_SLOT)
        except messages.MessageError:
            await close(self._websocket, 1007)
        except RefusedError as error:
            await self._end(str(error))
        except asyncio.TimeoutError:
            await self._end("no text came for too long")

    async def _end(self, message: str) -> None:
        await _end(self._websocket, self._wishes, message)

    # ---- what comes in

    async def _read(self) -> None:
        while True:
            message = await receive(self._websocket)
            self._idle.came()
            if self._ended.is_set():
                continue  # nothing counts any more, but the client may leave
            if isinstance(message, str):
                self._say(message)
            elif message == _EOS:
                self._no_more()
            else:
                self._take(messages.read(message))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "Text":
            self._say(messages.string(message, "text"))
        elif kind == "Voice":
            voice = messages.embedding(message)
            if not self._begun.is_set():
                self._voice = voice
        elif kind == "Eos":
            self._no_more()
        elif kind != "Ping":
            raise messages.MessageError("a type that nobody knows")

    def _say(self, text: str) -> None:
        """Each message ends a word."""
        self._characters += len(text)
        if self._characters > self._state.options.limits.text:
            raise RefusedError("too much text for one connection")
        text = cleaned(text) + " "
        if self._stream is None:
            self._text.append(text)
        else:
            say(self._stream, text)
        if text.strip():
            self._begun.set()

    def _no_more(self) -> None:
        self._ended.set()
        if self._stream is not None:
            end(self._stream)
        self._begun.set()

    async def _stop(self) -> None:
        """When the server stops, what was given is said; then it is over."""
        await self._state.sessions.stopping.wait()
        if not self._ended.is_set():
            self._no_more()
        await asyncio.Event().wait()

    # ---- what goes out

    async def _speak(self) -> None:
        await self._begun.wait()
        if not self._text:
            return
        try:
            stream = await opened(self._slot, self._voice, **self._wishes.options)
        except (CheckpointError, TypeError, ValueError):  # of an embedding
            raise RefusedError("this model cannot speak with that voice") from None
        for text in self._text:
            say(stream, text)
        self._stream = stream
        if self._ended.is_set():
            end(stream)
        if header := self._encoder.header():
            await self._websocket.send_bytes(header)
        async for chunk in stream:
            self.frames += 1
            for word in chunk.words if self._wishes.packed else ():
                await self._websocket.send_bytes(messages.spoken(word.text, word.start, word.end))
            await self._websocket.send_bytes(self._encoder.frame(chunk.audio))
            self._idle.came()


class RefusedError(Exception):
    """What a client asks for cannot be; what to tell him."""


class Encoder:
    """Frames of sound as one of the formats."""

    def __init__(self, packed: bool):
        self._packed = packed

    @classmethod
    def of(cls, format: str) -> Encoder:
        """OpusError where Opus cannot be had."""
        kind = _Opus if format.startswith("OggOpus") else cls
        return kind(format.endswith("MessagePack"))

    def header(self) -> bytes:
        """What goes before the first frame."""
        return b""

    def frame(self, pcm: np.ndarray) -> bytes:
        """float32 (1920,) -> one message."""
        return messages.audio(pcm) if self._packed else pcm.astype("<f4").tobytes()


class _Opus(Encoder):
    def __init__(self, packed: bool):
        super().__init__(packed)
        self._writer = OggOpusWriter()

    def header(self) -> bytes:
        return self._wrapped(self._writer.header())

    def frame(self, pcm: np.ndarray) -> bytes:
        return self._wrapped(self._writer.frame(pcm))

    def _wrapped(self, pages: bytes) -> bytes:
        return messages.ogg_opus(pages) if self._packed else pages


async def _end(websocket: WebSocket, wishes: Wishes, message: str) -> None:
    """Say why it is over, and close. Who gets nothing but sound gets the reason with the close."""
    if wishes.packed:
        await websocket.send_bytes(messages.error(message))
        await close(websocket)
    else:
        await close(websocket, 1011, message)
