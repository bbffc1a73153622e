"""The client's side of a conversation: whose words are whose, from sound to items."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from dsm_mlx.serve.openai.conversation.items import Item, Items
from dsm_mlx.serve.openai.conversation.wire import Wire


class _Turn(Item):
    """One that is being said, or heard. told: how much of its text the client has. begun: whether
    it was told that somebody speaks. start: of its first word. since: where the turn before it
    ended. kept: if not, it shall not have been said."""

    def __init__(self) -> None:
        super().__init__("user", "input_audio", status="in_progress")
        self.told, self.begun, self.kept = "", False, True
        self.start = self.since = 0.0


class Person:
    """Tells the client of its turns, and makes items of them. Seconds are of the sound heard.

    detects: whether the server sees where turns begin and end.
    """

    def __init__(self, wire: Wire, items: Items):
        self._wire, self._items = wire, items
        self._turn = _Turn()  # the present one
        self._cut: deque[_Turn] = deque()  # by the client, and not all known
        self._ended: _Turn | None = None  # the last one
        self._since = 0.0  # when it ended
        self.detects = True
        self._settled = asyncio.Event()
        self._settled.set()

    async def settled(self) -> None:
        """Until all is known of what the client has committed or cleared."""
        await self._settled.wait()

    # ---- while it is said

    def partial(self, text: str) -> None:
        """The turn so far, with the word in progress."""
        turn = self._cut[0] if self._cut else self._turn
        if turn.kept:
            self._wire.tell("dsm_mlx.partial", item_id=turn.id, text=text)

    def heard(self, text: str, start: float, held: bool) -> None:
        """The turn so far. held: it may yet be nothing, and is not told."""
        turn = self._cut[0] if self._cut else self._turn
        turn.start = start
        if not (turn.kept or text):
            self._next_cut()
        if held or not turn.kept:
            return
        if self.detects and turn is self._turn:
            self.starts(start)
        self._tell_words(turn, text)

    def starts(self, start: float) -> None:
        """Somebody speaks, which the client is told once of each turn."""
        if not self._turn.begun:
            self._turn.begun = True
            name, ms = "input_audio_buffer.speech_started", round(1000 * start)
            self._wire.tell(name, audio_start_ms=ms, item_id=self._turn.id)

    # ---- when it has been said

    def commit(self) -> None:
        """The client says that its turn is over; what is to become known of it comes later."""
        self._tell_committed(self._cut_off())

    def ended(self, text: str, end: float) -> None:
        """A turn is over, and all of it is known."""
        if self._cut and self._cut[0].kept:
            turn = self._next_cut()
            self._tell_words(turn, text)
        elif text:
            self.starts(self._turn.start)
            self._tell_words(self._turn, text)
            turn, self._turn = self._turn, _Turn()
            name = "input_audio_buffer.speech_stopped"
            self._wire.tell(name, audio_end_ms=round(1000 * end), item_id=turn.id)
            self._tell_committed(turn)
        else:
            return
        self._ended, turn.text, turn.status = turn, text, "completed"
        turn.since, self._since = self._since, end
        usage = {"type": "duration", "seconds": round(max(0.0, end - turn.since), 3)}
        self._tell_of(turn, "completed", transcript=text, usage=usage)
        self._items.done(turn)

    def take_back(self) -> None:
        """The last turn goes on: it becomes another item."""
        assert self._ended
        self._since = self._ended.since
        self._items.delete(self._ended)

    def clear(self) -> None:
        """What was said of the present turn shall not have been said."""
        self._cut_off().kept = False

    def failed(self, message: str) -> None:
        """Nothing more becomes known of what was committed."""
        error = {"type": "server_error", "code": None, "message": message, "param": None}
        for turn in self._cut:
            if turn.kept:
                self._tell_of(turn, "failed", error=error)
        self._cut.clear()

    # ---- within

    def _cut_off(self) -> _Turn:
        """The present turn, which the client cuts here."""
        turn, self._turn = self._turn, _Turn()
        self._cut.append(turn)
        self._settled.clear()
        return turn

    def _next_cut(self) -> _Turn:
        """The turn whose cut has come."""
        turn = self._cut.popleft()
        if not self._cut:
            self._settled.set()
        return turn

    def _tell_committed(self, turn: _Turn) -> None:
        before = self._items.last
        name = "input_audio_buffer.committed"
        self._wire.tell(name, item_id=turn.id, previous_item_id=before)
        self._items.add(turn)

    def _tell_words(self, turn: _Turn, text: str) -> None:
        if text != turn.told and text.startswith(turn.told):
            delta, turn.told = text[len(turn.told) :], text
            self._tell_of(turn, "delta", delta=delta)

    def _tell_of(self, turn: _Turn, kind: str, **more: Any) -> None:
        name = f"conversation.item.input_audio_transcription.{kind}"
        self._wire.tell(name, item_id=turn.id, content_index=0, **more)
