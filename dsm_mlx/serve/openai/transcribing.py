"""Transcription while somebody speaks, over a websocket of JSON."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from dsm_mlx import EndOfTurn, Mark, Pause, Word
from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.models import Slot
from dsm_mlx.serve.openai.events import error_of, event_of, new_id, send
from dsm_mlx.serve.openai.fields import WishError
from dsm_mlx.serve.openai.incoming import AHEAD, PIECE, RATE, Sound, take_all, unknown, until_over
from dsm_mlx.serve.openai.wishes import Wishes
from dsm_mlx.serve.sessions import STOPPING, Idle, close, first_of
from dsm_mlx.serve.state import State
from dsm_mlx.stt.stream import TranscriptStream

# Samples that the stream has and has not heard. What follows the end of a turn is heard after the
# silence that brings out its last word, so not much of it may be on its way already.
_GIVEN = RATE // 2


@dataclass
class _Item:
    """A turn of the client's. start, end: samples of the sound before it, and before what comes
    after it, which is known when it has ended."""

    start: int
    end: int = 0
    id: str = field(default_factory=lambda: new_id("item"))
    words: list[str] = field(default_factory=list)
    begun: bool = False  # whether the client was told that somebody speaks


@dataclass(frozen=True)
class _Finish:
    """A mark: all of an item has been heard. why: "commit", "turn" (the server saw its end),
    "clear" (it shall not have been said) or "stop" (nothing comes after it)."""

    why: str
    item: _Item


class Session:
    """One client, from `session.created` to the end. Tasks as in `serve.kyutai.stt.Listening`."""

    def __init__(self, websocket: WebSocket, slot: Slot[TranscriptStream], state: State, old: bool):
        self._websocket, self._slot, self._state, self._old = websocket, slot, state, old
        self._id, self._wishes = new_id("sess"), Wishes()
        self._inbox: Inbox[np.ndarray | _Finish] = Inbox()
        self._idle = Idle(state.options.limits.idle)
        self._sound = Sound(self._wishes.input.format)
        self._begun = False  # whether any sound came
        self._received = self._heard = 0  # samples at the model's rate
        self._item = _Item(0)  # the present turn
        self._last: str | None = None  # the id of the one that was committed last
        self._finishing: deque[_Finish] = deque()  # marks that have not come back, in their order
        self.frames = 0

    async def run(self) -> None:
        name = "transcription_session.created" if self._old else "session.created"
        await self._tell(name, session=self._wishes.shown(self._id, self._old))
        works = self._read(), self._listen(), self._stop(), self._idle.too_long()
        await until_over(self._websocket, self._over, *works)

    async def _over(self, message: str, code: int) -> None:
        await send(self._websocket, error_of(message))
        await close(self._websocket, code)

    # ---- what comes in

    async def _read(self) -> None:
        await take_all(self._websocket, self._idle, self._room, self._take, self._refuse)

    async def _room(self) -> None:
        while self._received - self._heard > AHEAD or self._inbox.is_crowded:
            await self._inbox.less()
            self._idle.came()  # it would like to send

    async def _refuse(self, error: dict[str, Any]) -> None:
        await send(self._websocket, error)

    async def _take(self, event: Any) -> None:
        kind = event["type"]
        if kind == "input_audio_buffer.append":
            self._put_sound(self._sound.decoded(event.get("audio")))
        elif kind == "session.update":
            await self._update(self._wishes.updated(event.get("session")), "session.updated")
        elif kind == "transcription_session.update":
            wishes = self._wishes.updated_by_old(event.get("session"))
            await self._update(wishes, "transcription_session.updated")
        elif kind == "input_audio_buffer.commit":
            await self._commit()
        elif kind == "input_audio_buffer.clear":
            await self._clear()
        else:
            raise unknown(kind, "transcription")

    async def _update(self, wishes: Wishes, name: str) -> None:
        if self._begun and wishes.input.policy != self._wishes.input.policy:
            message = "turn_detection cannot change when sound has come"
            raise WishError(message, "session.audio.input.turn_detection")
        self._sound.use(wishes.input.format)
        self._wishes = wishes
        await self._tell(name, session=wishes.shown(self._id, self._old))

    def _put_sound(self, pcm: np.ndarray) -> None:
        for start in range(0, pcm.size, PIECE):
            self._begun = True
            self._inbox.put(pcm[start : start + PIECE])
        self._received += pcm.size

    async def _commit(self) -> None:
        """The client says that its turn has ended."""
        self._put_sound(self._sound.rest())
        if self._received <= self._item.start:
            raise WishError("the buffer is empty, there is nothing to commit", "")
        finish = self._finish("commit", self._received)
        self._inbox.put(finish)
        await self._committed(finish.item)

    def _finish(self, why: str, end: int) -> _Finish:
        """The mark after the present item, which ends here, where the next one starts."""
        item, self._item = self._item, _Item(end)
        item.end = end
        finish = _Finish(why, item)
        self._finishing.append(finish)
        return finish

    async def _committed(self, item: _Item) -> None:
        self._last, before = item.id, self._last
        await self._tell("input_audio_buffer.committed", item_id=item.id, previous_item_id=before)
        content = [{"type": "input_audio", "transcript": None}]
        message = {"id": item.id, "object": "realtime.item", "type": "message", "role": "user"}
        whole = {**message, "status": "completed", "content": content}
        await self._tell("conversation.item.added", item=whole, previous_item_id=before)

    async def _clear(self) -> None:
        """What has not been committed shall not have been said."""
        self._sound.clear()
        waiting = self._inbox.items
        while waiting and isinstance(pcm := waiting[-1], np.ndarray):
            waiting.pop()
            self._received -= pcm.size
        if self._received > self._item.start:
            self._inbox.put(self._finish("clear", self._received))
        await self._tell("input_audio_buffer.cleared")

    async def _stop(self) -> None:
        """When the server stops, what was heard is told; then it is over."""
        await self._state.sessions.stopping.wait()
        if self._begun:
            self._inbox.put(_Finish("stop", self._item))
            await asyncio.Event().wait()
        await self._stopped()

    async def _stopped(self) -> None:
        await send(self._websocket, error_of(STOPPING, kind="server_error"))

    # ---- to the stream, and what comes of it

    async def _listen(self) -> None:
        """From the first sound on, when it is known when a turn ends."""
        await self._inbox.filled()
        stream = await self._slot.open(turns=self._wishes.input.policy)
        await first_of(self._give(stream), self._hear(stream))

    async def _give(self, stream: TranscriptStream) -> None:
        given = 0
        while True:
            await self._inbox.filled()
            is_sound = isinstance(self._inbox.items[0], np.ndarray)
            if is_sound and given - self._heard > _GIVEN:
                await self._inbox.less()
                continue
            item = self._inbox.take()
            await stream.ready()
            if isinstance(item, np.ndarray):
                stream.push(item)
                given += item.size
                continue
            stream.reset() if item.why == "clear" else stream.flush()
            stream.mark(item)

    async def _hear(self, stream: TranscriptStream) -> None:
        async for event in stream:
            if isinstance(event, Word):
                await self._word(event)
            elif isinstance(event, Pause):
                self.frames += 1
                self._heard = round(event.time * RATE)
                self._inbox.lighten()
            elif isinstance(event, EndOfTurn) and self._wishes.input.policy and self._item.words:
                await self._turn(stream, round(event.time * RATE))
            elif isinstance(event, Mark) and await self._finished(event.value):
                return

    async def _turn(self, stream: TranscriptStream, end: int) -> None:
        """The model says that the client's turn has ended. Its last word may be on its way."""
        finish = self._finish("turn", end)
        stream.flush()
        stream.mark(finish)
        name = "input_audio_buffer.speech_stopped"
        await self._tell(name, audio_end_ms=round(1000 * end / RATE), item_id=finish.item.id)
        await self._committed(finish.item)

    def _whose(self, word: Word) -> tuple[_Item, bool]:
        """The item of a word, and whether it shall not have been said. What comes before the mark
        of a commit belongs to it; the server may see the end of a turn when more has come."""
        for finish in self._finishing:
            item = finish.item
            if finish.why != "turn" or word.start * RATE < item.end:
                return item, finish.why == "clear"
        return self._item, False

    async def _word(self, word: Word) -> None:
        item, cleared = self._whose(word)
        if cleared:
            return
        if self._wishes.input.policy and item is self._item and not item.begun:
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

    async def _finished(self, mark: Any) -> bool:
        """All before the mark, a `_Finish`, has been heard; whether it was the last one."""
        if mark.why == "stop":
            await self._stopped()
            return True
        self._finishing.popleft()
        if mark.why != "clear":
            item = mark.item
            usage = {"type": "duration", "seconds": round((item.end - item.start) / RATE, 3)}
            text = " ".join(item.words)
            await self._heard_of(item, "completed", transcript=text, usage=usage)
        return False

    async def _tell(self, kind: str, **fields: Any) -> None:
        await send(self._websocket, event_of(kind, **fields))
