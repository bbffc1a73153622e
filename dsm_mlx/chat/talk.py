"""The conversation itself, in one event loop: hearing, taking turns, thinking and speaking."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from dsm_mlx import results
from dsm_mlx.chat import turns
from dsm_mlx.chat.asking import Asking, Reply
from dsm_mlx.chat.events import (
    DeviceChanged,
    DeviceLost,
    Event,
    Failed,
    Interrupted,
    Latency,
    Said,
    Saying,
    Thinking,
    Writing,
)
from dsm_mlx.chat.hearing import Cut, Hearing, Source
from dsm_mlx.chat.speaking import Speaks, Told, end
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import reason
from dsm_mlx.runtime.waiting import Call
from dsm_mlx.stt.stream import TranscriptStream

_BEFORE_SECONDS = 2.0  # that what was stopped has to end, before the next thing is said
_SOURCE_ENDED = object()


@dataclass(frozen=True)
class Parts:
    """What a conversation is made of; see `Conversation`.

    open_transcript: what hears; what is being said does not wait for it. utter: makes what says an
    answer, and tells of it whom it is given. check_speech: raises what is wrong with speech, at the
    beginning; may block. delay: by which words lag. sample_rate: of the source.
    """

    open_transcript: Callable[[], Awaitable[TranscriptStream]]
    utter: Callable[[Told], Speaks]
    check_speech: Callable[[], object] | None
    reply: Reply
    source: Source
    sample_rate: int
    delay: float
    full_duplex: bool
    patience: float
    settle: float
    sorry: str | None
    manners: turns.Manners = field(default_factory=turns.Manners)


class Listener(Protocol):
    """Who is told what happens, in the event loop. An `Outbox` is one."""

    def put(self, event: Event, /) -> None:
        """It happens now."""

    def end(self, error: Exception | None = None, /) -> None:
        """Nothing more happens; `error`: why. The first call counts."""

    async def room(self) -> None:
        """Until not too much waits to be taken."""


class Record(Protocol):
    """What was said so far. `Messages` are one, which see."""

    def add(self, role: str, text: str, /) -> None: ...

    def take_back(self) -> None: ...

    def plain(self) -> list[dict[str, str]]: ...


class Talk:
    """All methods are for the event loop in which it is opened."""

    def __init__(self, parts: Parts, messages: Record, events: Listener):
        self._parts, self._messages, self.events = parts, messages, events
        self._turns = turns.TurnTaking(parts.patience, parts.delay, parts.manners)
        self._asking = Asking(parts.reply)
        self._hearing: Hearing | None = None
        self._going_on = False
        self._to_say: deque[str] = deque()
        self._utterance: Speaks | None = None
        self._asked: tuple[float, float] | None = None  # when the last word and the turn ended
        self._unanswered: tuple[float, float] | None = None  # the same, of a turn that was kept
        self._speaking: asyncio.Task[None] | None = None
        self._ready, self._quiet = asyncio.Event(), asyncio.Event()
        self._unopened: Exception | None = None
        self._failure: Exception | None = None  # of the source
        self._lost = ""  # what was told last of a device that is gone

    async def run(self) -> None:
        """Until the source ends and all is said; what goes wrong is among the events."""
        try:
            self._hearing = await self._open()
            self._ready.set()
            await self._converse(self._hearing)
        except Exception as error:
            self._unopened = error
        finally:
            if self._utterance:  # from before it began to hear
                await self._end()
            self._close()
            self.ended()

    def ended(self) -> None:
        """`run` is over, or was cancelled before it began."""
        self._ready.set()
        self.events.end()

    async def ready(self) -> None:
        """Until it has begun. Raises what went wrong with the models."""
        await self._ready.wait()
        if self._unopened:
            raise self._unopened

    async def _open(self) -> Hearing:
        """Open what hears, and see that speech can be made."""
        parts = self._parts
        if parts.check_speech:
            trying = Call(parts.check_speech)
            await trying.wait_async()
            trying.result()
        stream = await parts.open_transcript()
        return Hearing(stream, parts.source, parts.sample_rate, parts.settle)

    async def _converse(self, hearing: Hearing) -> None:
        giving = asyncio.ensure_future(self._give(hearing))
        error: Exception | None = None
        self._going_on = True
        try:
            self._say_next()
            await self._hear(hearing)
            error = self._failure
        except Exception as failed:
            error = failed
        finally:
            await self._end(giving)
            self.events.end(error)

    async def _end(self, *giving: asyncio.Future[None]) -> None:
        self._going_on = False
        if self._utterance:
            self._cut_short()
        await end(*giving, *([self._speaking] if self._speaking else []))

    def _close(self) -> None:
        if self._hearing:
            self._hearing.close()
        self._asking.close()

    # ---- from outside

    def say(self, text: str) -> None:
        """When nothing else is being said."""
        self._to_say.append(text)
        self._say_next()

    def interrupt(self) -> None:
        self._do(self._turns.stop())

    def respond(
        self, utter: Callable[[Told], Speaks], messages: list[dict[str, str]] | None = None
    ) -> None:
        """Answer what has been said so far, while nothing is being said.

        utter: in the place of that of `Parts`. messages: in the place of those so far.
        """
        asked, self._unanswered = self._unanswered, None
        self._think(asked, utter, messages)

    @property
    def speaks(self) -> bool:
        """Whether something is being thought of or said."""
        return self._utterance is not None

    async def quiet(self) -> None:
        """Until it is not."""
        while self._utterance:
            self._quiet.clear()
            await self._quiet.wait()

    @property
    def time(self) -> float:
        """Seconds of sound heard so far."""
        return self._now

    @property
    def turn_start(self) -> float:
        """When the person's turn in progress began, in the same seconds."""
        return self._turns.start

    def device(self, kind: str, message: str) -> None:
        """What happened to a microphone or loudspeaker, as a `DeviceEvent` has it."""
        if kind == "lost":
            self._tell_lost(message)
        elif kind in ("stopped", "reopened", "changed", "silent"):
            self.events.put(DeviceChanged(message, self._now))

    # ---- the person

    @property
    def _now(self) -> float:
        return self._turns.now

    async def _give(self, hearing: Hearing) -> None:
        try:
            await hearing.give(self.events.room)
        except Exception as error:
            self._failure = error
            if isinstance(error, AudioError):
                self._tell_lost(str(error))
        hearing.finish(_SOURCE_ENDED)

    async def _hear(self, hearing: Hearing) -> None:
        async for event in hearing.stream:
            hearing.progress()
            if isinstance(event, results.Mark) and event.value is _SOURCE_ENDED:
                break
            self._do(self._follows(event))
        self._do(self._turns.finished(self._now))
        await self.quiet()

    def _follows(self, event: results.Event) -> Iterable[turns.Step]:
        """What follows from what was heard."""
        if isinstance(event, results.Word):
            return self._turns.word(event)
        if isinstance(event, results.Partial):
            return self._turns.partial(event)
        if isinstance(event, results.Pause):
            return self._turns.pause(event)
        if isinstance(event, results.EndOfTurn):
            return self._turns.end(event)
        if isinstance(event, results.Mark) and isinstance(event.value, Cut):
            return self._turns.committed() if event.value.kept else self._turns.cleared()
        if isinstance(event, results.Mark):
            return self._turns.finished(float(event.value))  # type: ignore[arg-type]
        return ()

    def _do(self, steps: Iterable[turns.Step]) -> None:
        for step in steps:
            if isinstance(step, turns.Finish):
                assert self._hearing
                self._hearing.finish(step.time)
            elif isinstance(step, (turns.Answer, turns.Keep)):
                self._turn_ended(step)
            elif isinstance(step, turns.Withdraw):
                self._fall_silent()
                self._messages.take_back()
            elif isinstance(step, turns.Stop):
                self._to_say.clear()
                utterance = self._cut_short()
                self.events.put(Interrupted(utterance.heard, utterance.text, self._now))
            else:
                self.events.put(step)

    # ---- the assistant

    def _turn_ended(self, step: turns.Answer | turns.Keep) -> None:
        assert self._hearing
        self._messages.add("user", step.text)
        asked = None
        if step.last_word is not None:
            asked = self._hearing.when(step.last_word), time.monotonic()
        if isinstance(step, turns.Answer):
            self._think(asked, self._parts.utter)
        else:
            self._unanswered = asked

    def _think(
        self,
        asked: tuple[float, float] | None,
        utter: Callable[[Told], Speaks],
        messages: list[dict[str, str]] | None = None,
    ) -> None:
        self.events.put(Thinking(self._now))
        messages = self._messages.plain() if messages is None else messages
        self._begin(self._asking.pieces(messages), asked, utter)

    def _say_next(self) -> None:
        if self._to_say and self._going_on and not self._utterance:
            self._begin(_whole(self._to_say.popleft()), None, self._parts.utter)

    def _begin(
        self,
        pieces: AsyncGenerator[str, None],
        asked: tuple[float, float] | None,
        utter: Callable[[Told], Speaks],
    ) -> None:
        utterance = utter(self)
        self._turns.begun()
        self._utterance, self._asked = utterance, asked
        self._speaking = asyncio.ensure_future(self._speak(utterance, pieces, self._speaking))

    async def _speak(
        self,
        utterance: Speaks,
        pieces: AsyncGenerator[str, None],
        before: asyncio.Task[None] | None,
    ) -> None:
        try:
            if before:
                await asyncio.wait([before], timeout=_BEFORE_SECONDS)
                del before  # or each would hold the one before it
            await utterance.say(pieces)
        except Exception as error:
            self._tell_failed(error)
            self._cut_short()
        else:
            self._messages.add("assistant", utterance.heard)
            self._unmute()
            self._utterance = None
            self.events.put(Said(utterance.heard, self._latency(utterance), self._now))
        finally:
            with suppress(RuntimeError):  # it does not end
                await pieces.aclose()  # also where it has not begun
        self._do(self._turns.over())
        self._say_next()
        self._quiet.set()

    def _latency(self, utterance: Speaks) -> Latency | None:
        token, sound = utterance.first_token, utterance.first_sound
        if self._asked is None or token is None or sound is None:
            return None
        last_word, ended = self._asked
        return Latency(max(0.0, ended - last_word), token - ended, sound - token)

    def _cut_short(self) -> Speaks:
        """Stop what is being said; its message is what of it was heard."""
        utterance = self._fall_silent()
        self._messages.add("assistant", utterance.heard)
        return utterance

    def _fall_silent(self) -> Speaks:
        assert self._utterance and self._speaking
        utterance, self._utterance = self._utterance, None
        try:
            utterance.stop()
        except Exception as error:  # the sink's
            self._tell_failed(error)
        if self._speaking is not asyncio.current_task():
            self._speaking.cancel()
        self._unmute()
        self._quiet.set()
        return utterance

    def _unmute(self) -> None:
        if self._hearing:
            self._hearing.unmute()

    # ---- what an utterance tells

    def wrote(self, piece: str) -> None:
        self.events.put(Writing(piece, self._now))

    def plays(self) -> None:
        if self._hearing and not self._parts.full_duplex:
            self._hearing.mute()

    def sounds(self, ago: float) -> None:
        given = self._hearing.time if self._hearing else 0.0
        self._turns.sounds(given - ago)

    def said(self, piece: str) -> None:
        self.events.put(Saying(piece, self._now))

    def broke_off(self, error: Exception) -> str | None:
        self.events.put(Failed(f"the reply failed: {reason(error)}", self._now))
        return self._parts.sorry

    # ---- what went wrong

    def _tell_failed(self, error: Exception) -> None:
        if isinstance(error, AudioError):
            self._tell_lost(str(error))
        self.events.put(Failed(f"the speech failed: {reason(error)}", self._now))

    def _tell_lost(self, message: str) -> None:
        """Once: who opened the device may tell it, too."""
        if message != self._lost:
            self._lost = message
            self.events.put(DeviceLost(message, self._now))


async def _whole(text: str) -> AsyncGenerator[str, None]:
    yield text
