"""Speech to text as moshi-server has it: sound through a socket, or a file in a request."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from dsm_mlx import AudioError, BusyError, Mark, Pause, Word
from dsm_mlx.serve import bodies
from dsm_mlx.serve.hearing import parts_of
from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.serve.models import NO_SLOT, Slot, served
from dsm_mlx.serve.opus import OggOpusReader, OpusError
from dsm_mlx.serve.sessions import STOPPING, Idle, close, first_of, receive
from dsm_mlx.serve.state import State, state_of
from dsm_mlx.stt.stream import TranscriptStream

FRAME = 1920  # samples of a Step
AHEAD = 30 * 24_000  # samples that are read and not yet heard: then the client has to wait
_AGAIN, _LAST = object(), object()  # marks of our own


async def socket(websocket: WebSocket) -> None:
    """`/api/asr-streaming`."""
    state = state_of(websocket)
    metrics = state.metrics.stt
    await websocket.accept()
    try:
        slot = metrics.counted(served(state.models.listeners).take)
    except BusyError:
        await _end(websocket, NO_SLOT)
        return
    with slot, state.sessions.running():
        await websocket.send_bytes(messages.READY)
        listening = Listening(websocket, slot, state)
        try:
            await listening.run()
        finally:
            metrics.steps.add(listening.steps)


class Listening:
    """One client, from Ready to the end.

    Three tasks: one reads what the client sends, so that its leaving is seen at once; one gives it
    to the stream, as fast as that takes it; one sends what becomes known.
    """

    def __init__(self, websocket: WebSocket, slot: Slot[TranscriptStream], state: State):
        self._websocket, self._slot, self._state = websocket, slot, state
        self._inbox: Inbox[Any] = Inbox()  # pcm, and marks
        self._idle = Idle(state.options.limits.idle)
        self._opus: OggOpusReader | None = None
        self.received = self.heard = 0  # samples
        self.steps = 0

    async def run(self) -> None:
        try:
            stream = await self._slot.open()
            works = self._read(), self._give(stream), self._tell(stream), self._stop()
            await first_of(*works, self._idle.too_long())
            await close(self._websocket)
        except BusyError:  # no memory for another row
            await _end(self._websocket, NO_SLOT)
        except OpusError as error:
            await _end(self._websocket, str(error))
        except (messages.MessageError, AudioError):
            await close(self._websocket, 1007)
        except asyncio.TimeoutError:
            await _end(self._websocket, "no sound came for too long")

    # ---- what comes in

    async def _read(self) -> None:
        while True:
            while self.received - self.heard > AHEAD or self._inbox.is_crowded:
                await self._inbox.less()
                self._idle.came()  # it would like to send
            self._idle.came()
            while isinstance(data := await receive(self._websocket), str):
                pass  # text does not count
            self._put(data)

    def _put(self, data: bytes) -> None:
        message = messages.read(data)
        kind = message["type"]
        if kind == "Audio":
            self._put_sound(messages.samples(message))
        elif kind == "OggOpus":
            self._opus = self._opus or OggOpusReader()
            self._put_sound(self._opus.push(messages.octets(message)))
        elif kind == "Marker":
            self._inbox.put(messages.whole(message, "id"))
        elif kind == "Init":
            self._inbox.put(_AGAIN)
        elif kind != "Ping":
            raise messages.MessageError("a type that nobody knows")

    def _put_sound(self, pcm: np.ndarray) -> None:
        if pcm.size:
            self.received += pcm.size
            self._inbox.put(pcm)

    async def _stop(self) -> None:
        """When the server stops, what was heard is told; then it is over."""
        await self._state.sessions.stopping.wait()
        self._inbox.put(_LAST)
        await asyncio.Event().wait()

    # ---- to the stream

    async def _give(self, stream: TranscriptStream) -> None:
        given = flushed = 0
        while True:
            await self._inbox.filled()
            item = self._inbox.take()
            await stream.ready()
            if isinstance(item, np.ndarray):
                stream.push(item)
                given += item.size
                continue
            if item is _AGAIN and given:
                stream.reset()
            elif item is not _AGAIN and given > flushed:  # else there is nothing to bring out
                stream.flush()
            flushed = given
            stream.mark(item)

    # ---- what goes out

    async def _tell(self, stream: TranscriptStream) -> None:
        """Events as messages. For every frame the Step comes first; the stream tells words before
        the pause of the same frame, so they wait for it, or for the mark after a flush."""
        words: list[Word] = []
        async for event in stream:
            if isinstance(event, Word):
                words.append(event)
                continue
            if isinstance(event, Pause):
                await self._step(event)
            elif not isinstance(event, Mark):
                continue
            for word in words:
                await self._send(messages.word(word.text, word.start))
                await self._send(messages.end_word(word.end))
            words.clear()
            if isinstance(event, Mark) and await self._mark(event.value):
                return

    async def _step(self, pause: Pause) -> None:
        """A Step for every 1920 samples of the client's own sound, of which a flush may have cut
        a frame in two."""
        self.heard = round(pause.time * 24_000)
        self._inbox.lighten()
        while self.steps < self.heard // FRAME:
            waiting = self.received - self.heard
            self.steps += 1
            await self._send(messages.step(self.steps, pause.probabilities.values(), waiting))

    async def _mark(self, value: Any) -> bool:
        """Whether it was the last one."""
        if value is _LAST:
            await self._send(messages.error(STOPPING))
            return True
        await self._send(messages.READY if value is _AGAIN else messages.marker(value))
        return False

    async def _send(self, message: bytes) -> None:
        await self._websocket.send_bytes(message)


async def _end(websocket: WebSocket, message: str) -> None:
    """Say why it is over, and close."""
    await websocket.send_bytes(messages.error(message))
    await close(websocket)


async def transcribe(request: Request) -> JSONResponse:
    """POST `/api/asr-streaming`: a sound file -> its words."""
    state = state_of(request)
    limits = state.options.limits
    try:
        with await bodies.kept(request, limits.body, limits.wait) as file:
            words = await bodies.unless_gone(request, _words(state, file))
    except BusyError:
        raise HTTPException(500, NO_SLOT) from None
    except AudioError as error:
        raise HTTPException(400, str(error)) from None
    return JSONResponse(words)


async def _words(state: State, file: Any) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = []
    async with aclosing(parts_of(state, file)) as parts:
        async for part in parts:
            for event in part.events:
                if isinstance(event, Word):
                    words.append(messages.word_fields(event.text, event.start))
                    words.append(messages.end_fields(event.end))
    return words
