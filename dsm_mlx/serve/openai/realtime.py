"""Transcription while somebody speaks, over a websocket of JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from dsm_mlx import AudioError, BusyError, EndOfTurn, Mark, Pause, Word
from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.messages import shown
from dsm_mlx.serve.models import Slot
from dsm_mlx.serve.openai.wishes import WishError, Wishes, new_id
from dsm_mlx.serve.samples import Decoder
from dsm_mlx.serve.sessions import Idle, close, first_of, receive
from dsm_mlx.serve.state import State, state_of
from dsm_mlx.stt.stream import TranscriptStream

_RATE = 24_000
_AHEAD = 30 * _RATE  # samples that are read and not yet heard: then the client has to wait
_MOST_WAITING = 1000  # messages, the same


async def socket(websocket: WebSocket) -> None:
    """`/v1/realtime`."""
    state = state_of(websocket)
    metrics = state.metrics.stt
    wanted = websocket.scope.get("subprotocols", ())
    await websocket.accept("realtime" if "realtime" in wanted else None)
    try:
        slot = state.models.listeners.take()
    except BusyError as error:
        metrics.refused += 1
        await _send(websocket, _error(str(error), kind="server_error"))
        await close(websocket, 1013)
        return
    metrics.connections += 1
    old = "realtime=v1" in websocket.headers.get("openai-beta", "")
    with slot, state.sessions.running():
        session = Session(websocket, slot, state, old)
        try:
            await session.run()
        finally:
            metrics.steps.add(session.frames)


@dataclass
class _Item:
    """A turn of the client's: said, or being said. start: samples of the sound before it."""

    start: int
    id: str = field(default_factory=lambda: new_id("item"))
    words: list[str] = field(default_factory=list)
    begun: bool = False  # whether the client was told that somebody speaks


@dataclass(frozen=True)
class _Finish:
    """A mark: all before it has been heard. why: "commit", "turn", "clear" or "stop"."""

    why: str
    item: _Item | None = None


class Session:
    """One client, from `session.created` to the end. Tasks as in `serve.kyutai.stt.Listening`."""

    def __init__(self, websocket: WebSocket, slot: Slot[TranscriptStream], state: State, old: bool):
        self._websocket, self._slot, self._state, self._old = websocket, slot, state, old
        self._id, self._wishes = new_id("sess"), Wishes()
        self._inbox: deque[np.ndarray | _Finish] = deque()
        self._came, self._taken, self._sound = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle = Idle(state.options.limits.idle)
        self._decoder: Decoder | None = None
        self._received = self._heard = 0  # samples at the model's rate
        self._item, self._last = _Item(0), None  # the present turn, and the id of the one before
        self._committed_items: deque[_Item] = deque()  # of which not all has been heard
        self._clearing = False
        self.frames = 0

    async def run(self) -> None:
        name = "transcription_session.created" if self._old else "session.created"
        await self._tell(name, session=self._wishes.shown(self._id, self._old))
        try:
            await first_of(self._read(), self._listen(), self._stop(), self._idle.too_long())
            await close(self._websocket, 1000)
        except BusyError as error:
            await self._over(str(error), 1013)
        except AudioError as error:
            await self._over(str(error), 1007)
        except asyncio.TimeoutError:
            await self._over("no message came for too long", 1000)

    async def _over(self, message: str, code: int) -> None:
        await _send(self._websocket, _error(message))
        await close(self._websocket, code)

    # ---- what comes in

    async def _read(self) -> None:
        while True:
            while self._received - self._heard > _AHEAD or len(self._inbox) > _MOST_WAITING:
                self._taken.clear()
                await self._taken.wait()
            data = await receive(self._websocket)
            self._idle.came()
            event: Any = None
            try:
                event = json.loads(data)
                await self._take(event)
            except (WishError, AudioError) as error:
                where = getattr(error, "param", "audio")
                await self._send(_error(str(error), where, _id_of(event)))
            except (ValueError, RecursionError):
                await self._send(_error("the message is no JSON object with a type"))

    async def _take(self, event: Any) -> None:
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "input_audio_buffer.append":
            self._append(event.get("audio"))
        elif kind == "session.update":
            await self._update(self._wishes.updated(event.get("session")), "session.updated")
        elif kind == "transcription_session.update":
            wishes = self._wishes.updated_by_old(event.get("session"))
            await self._update(wishes, "transcription_session.updated")
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            self._clear()
        elif isinstance(kind, str):
            raise WishError(f"type is {shown(kind)} (expected one of a transcription)", "type")
        else:
            raise ValueError

    async def _update(self, wishes: Wishes, name: str) -> None:
        if self._received and wishes.policy != self._wishes.policy:
            message = "turn_detection cannot change when sound has come"
            raise WishError(message, "session.audio.input.turn_detection")
        if wishes.format != self._wishes.format:
            self._decoder = None
        self._wishes = wishes
        await self._tell(name, session=wishes.shown(self._id, self._old))

    def _append(self, audio: Any) -> None:
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise WishError("audio is no base64", "audio") from None
        self._decoder = self._decoder or Decoder(*self._wishes.encoding, 1)
        self._put_sound(self._decoder(data))

    def _put_sound(self, pcm: np.ndarray) -> None:
        if pcm.size:
            pcm = check_pcm(pcm)
            self._received += pcm.size
            self._put(pcm)

    def _put(self, item: np.ndarray | _Finish) -> None:
        self._inbox.append(item)
        self._came.set()
        self._sound.set()

    async def _commit(self) -> None:
        """The client says that its turn has ended."""
        if self._decoder:
            self._put_sound(self._decoder.rest())
        item = self._item
        if self._received <= item.start:
            raise WishError("the buffer is empty, there is nothing to commit", "")
        self._item = _Item(self._received)
        self._committed_items.append(item)
        await self._committed(item)
        self._put(_Finish("commit", item))

    async def _committed(self, item: _Item) -> None:
        self._last, before = item.id, self._last
        await self._tell("input_audio_buffer.committed", item_id=item.id, previous_item_id=before)
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item.id, "object": "realtime.item", "type": "message", "role": "user"}
        message |= {"status": "completed", "content": content}
        await self._tell("conversation.item.added", item=message, previous_item_id=before)

    def _clear(self) -> None:
        """What has not been committed shall not have been said."""
        for item in [item for item in self._inbox if isinstance(item, np.ndarray)]:
            self._received -= item.size
        self._inbox = deque(item for item in self._inbox if isinstance(item, _Finish))
        self._clearing = True
        self._decoder = None
        self._put(_Finish("clear"))

    async def _stop(self) -> None:
        """When the server stops, what was heard is told; then it is over."""
        await self._state.sessions.stopping.wait()
        self._put(_Finish("stop"))
        await asyncio.Event().wait()

    # ---- to the stream, and what comes of it

    async def _listen(self) -> None:
        """From the first sound on, when it is known when a turn ends."""
        await self._sound.wait()
        stream = await self._slot.open(turns=self._wishes.policy)
        await first_of(self._give(stream), self._hear(stream))

    async def _give(self, stream: TranscriptStream) -> None:
        while True:
            while not self._inbox:
                self._came.clear()
                await self._came.wait()
            item = self._inbox.popleft()
            self._taken.set()
            await stream.ready()
            if isinstance(item, np.ndarray):
                stream.push(item)
                continue
            stream.reset() if item.why == "clear" else stream.flush()
            stream.mark(item)

    async def _hear(self, stream: TranscriptStream) -> None:
        async for event in stream:
            if isinstance(event, Word) and not self._clearing:
                await self._word(event)
            elif isinstance(event, Pause):
                self.frames += 1
                self._heard = round(event.time * _RATE)
                self._taken.set()
            elif isinstance(event, EndOfTurn) and self._wishes.policy and self._item.words:
                stream.flush()  # the last word may still be on its way
                stream.mark(_Finish("turn", self._item))
            elif isinstance(event, Mark) and await self._finished(event.value):
                return

    async def _word(self, word: Word) -> None:
        # Of a turn that was committed and is still being heard, or of the present one.
        item = self._committed_items[0] if self._committed_items else self._item
        if self._wishes.policy and not item.begun:
            item.begun = True
            start = round(1000 * word.start)
            name = "input_audio_buffer.speech_started"
            await self._tell(name, audio_start_ms=start, item_id=item.id)
        delta = f" {word.text}" if item.words else word.text
        item.words.append(word.text)
        await self._heard_of(item, "delta", delta=delta)

    async def _heard_of(self, item: _Item, kind: str, **more: Any) -> None:
        name = f"conversation.item.input_audio_transcription.{kind}"
        await self._tell(name, item_id=item.id, content_index=0, **more)

    async def _finished(self, mark: _Finish) -> bool:
        """All before the mark has been heard; whether it was the last one."""
        if mark.why == "stop":
            await self._send(_error("the server is stopping", kind="server_error"))
            return True
        if mark.why == "clear":
            self._clearing = False
            self._item = _Item(self._received)
            await self._tell("input_audio_buffer.cleared")
            return False
        item = mark.item
        if mark.why == "turn":
            if item is not self._item:  # the client was quicker
                return False
            self._item = _Item(self._heard)
            end = round(1000 * self._heard / _RATE)
            name = "input_audio_buffer.speech_stopped"
            await self._tell(name, audio_end_ms=end, item_id=item.id)
            await self._committed(item)
        else:
            self._committed_items.popleft()
        seconds = max(self._heard - item.start, 0) / _RATE
        usage = {"type": "duration", "seconds": round(seconds, 3)}
        text = " ".join(item.words)
        await self._heard_of(item, "completed", transcript=text, usage=usage)
        return False

    async def _tell(self, kind: str, **fields: Any) -> None:
        await self._send({"type": kind, **fields})

    async def _send(self, event: dict[str, Any]) -> None:
        await _send(self._websocket, event)


async def _send(websocket: WebSocket, event: dict[str, Any]) -> None:
    await websocket.send_text(json.dumps({"event_id": new_id("event"), **event}))


def _error(
    message: str, param: str | None = None, event: str | None = None, kind: str = ""
) -> dict[str, Any]:
    kind = kind or "invalid_request_error"
    error = {"type": kind, "message": message, "code": None, "param": param or None}
    return {"type": "error", "error": {**error, "event_id": event}}


def _id_of(event: Any) -> str | None:
    found = event.get("event_id") if isinstance(event, dict) else None
    return found if isinstance(found, str) else None
