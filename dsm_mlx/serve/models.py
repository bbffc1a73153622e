"""The loaded models of a server: their slots, their voices, their first words."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np

from dsm_mlx import BusyError, SpeechToText, TextToSpeech
from dsm_mlx.serve.answers import ECHO, Answerer
from dsm_mlx.stt.stream import TranscriptStream
from dsm_mlx.tts.stream import SpeechStream

Stream = TypeVar("Stream", TranscriptStream, SpeechStream)

Thing = TypeVar("Thing")

NO_SLOT = "no free channels"
"""What moshi-server tells where nobody more can be heard, or be spoken to."""
JOBS = 8  # whole files and texts at the same time; the others wait


def served(thing: Thing | None) -> Thing:
    """A model of `Models`, or its slots, for a route that is there only where it is served.

    Raises:
        RuntimeError: it is not.
    """
    if thing is None:
        raise RuntimeError("a route of a model that is not served")
    return thing


class Slots(Generic[Stream]):
    """The streams that a model may have open at once: who has one, and who waits for one.

    For one event loop. Slots are counted here, too, so that a client can be told in the same
    instant whether there is one for him.
    """

    def __init__(self, handle: Any):
        """handle: a `SpeechToText` or a `TextToSpeech`."""
        self.handle, self.used = handle, 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def total(self) -> int:
        return self.handle.max_streams

    def take(self) -> Slot[Stream]:
        """A slot, to be used in a `with` block. BusyError where none is free."""
        if self.used >= self.total or self._waiting:
            raise BusyError(f"{self.handle.name}: all {self.total} streams are in use")
        return Slot(self)

    async def wait(self, seconds: float) -> Slot[Stream]:
        """The same for who can wait; first come, first served. BusyError after `seconds`."""
        if self.used < self.total and not self._waiting:
            return Slot(self)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), seconds)
            return Slot(self)
        except asyncio.TimeoutError:
            raise BusyError(f"{self.handle.name}: no stream was free for {seconds:g} s") from None
        finally:
            self._waiting.remove(turn)
            self._call()

    def _call(self) -> None:
        """It is the turn of those who wait longest."""
        for turn in list(self._waiting)[: max(self.total - self.used, 0)]:
            if not turn.done():
                turn.set_result(None)


class Slot(Generic[Stream]):
    """One of the slots, in a `with` block; leaving it closes the stream that was opened."""

    def __init__(self, slots: Slots[Stream]):
        self._slots: Slots[Stream] = slots
        self._stream: Stream | None = None
        slots.used += 1

    @property
    def model(self) -> Any:
        """Whose stream it is: a `SpeechToText` or a `TextToSpeech`."""
        return self._slots.handle

    async def open(self, **options: Any) -> Stream:
        """Open the stream, in a thread. Raises what `stream` of the model raises."""
        return await self.open_by(partial(self.model.stream, **options))

    async def open_by(self, opens: Callable[[], Stream]) -> Stream:
        """The same; opens: what is done for it."""
        opening = asyncio.ensure_future(asyncio.to_thread(opens))
        try:
            stream = self._stream = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise
        return stream

    def __enter__(self) -> Slot[Stream]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()
        self._slots.used -= 1
        self._slots._call()


def _close_late(opening: asyncio.Future[Any]) -> None:
    """Whoever wanted the stream has gone."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class Models:
    """What a server serves. Either of the two may be None.

    voices: names that a client may ask for. answerers: who answers in conversations, the usual one
    first; nobody, where nothing listens.
    """

    def __init__(
        self,
        stt: SpeechToText | None,
        tts: TextToSpeech | None,
        answerers: Sequence[Answerer] = (),
    ):
        self.stt, self.tts = stt, tts
        self.answerers = (*answerers, ECHO) if stt else ()
        self.listeners = None if stt is None else Slots[TranscriptStream](stt)
        self.speakers = None if tts is None else Slots[SpeechStream](tts)
        self.voices: list[str] = []
        self._jobs = asyncio.Semaphore(JOBS)

    @property
    def loaded(self) -> list[SpeechToText | TextToSpeech]:
        """Those of the two that there are."""
        return [model for model in (self.stt, self.tts) if model is not None]

    def warm_up(self) -> None:
        """Hear and say something, so that the first client does not wait for what is done once.

        Raises what that raises: a model without a voice cannot be served.
        """
        if self.stt is not None:
            rate = self.stt.sample_rate
            self.stt.transcribe(np.zeros(rate, np.float32), sample_rate=rate)
        if self.tts is not None:
            self.voices = self.tts.voices()
            self.tts.synthesize("Hello.", seed=0)

    def voice(self, name: str | None) -> str | None:
        """A client's voice if it is one of the names; else None, the default. What looks like a
        path, or is one, is no name: nothing outside the model's own voices can be reached."""
        return name if name in self.voices else None

    def answerer(self, name: str | None) -> Answerer:
        """Who has that name; else the usual one."""
        named = (answerer for answerer in self.answerers if answerer.name == name)
        return next(named, self.answerers[0])

    @asynccontextmanager
    async def job(self, seconds: float) -> AsyncIterator[None]:
        """A whole file or text is worked on; not too many at a time. BusyError after `seconds`."""
        try:
            await asyncio.wait_for(self._jobs.acquire(), seconds)
        except asyncio.TimeoutError:
            raise BusyError(f"{JOBS} files and texts are being worked on") from None
        try:
            yield
        finally:
            self._jobs.release()

    def close(self) -> None:
        for model in self.loaded:
            model.close()
        for answerer in self.answerers:
            answerer.close()
