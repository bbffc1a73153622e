"""A live stream: sound goes in as it comes, words come out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np

from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.errors import BusyError
from dsm_mlx.results import Event, Pause
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.stream import RowStream
from dsm_mlx.runtime.waiting import raise_error, wait, wait_async
from dsm_mlx.stt.session import Session

WAITING_SECONDS = 10.0  # of sound that waits to be heard: then no more is taken
_TAKEN_AT_ONCE = 60  # frames of events, while more is being heard


class TranscriptStream(RowStream):
    """Speech to text as the sound comes in. Made by `SpeechToText.stream`.

    A stream is used in one of two ways; the first call decides, and the other is a ValueError.

    *feed*: `feed`, `flush` and `reset` block and return what became known. Leaving a `with` block
    flushes; the events of that last flush are in `final_events`.

    *push and iterate*: `push`, `flush`, `reset`, `mark` and `end` queue in order and return at
    once; `for event in stream` or `async for event in stream` takes what becomes known. Leaving a
    `with` or `async with` block closes without a flush.

    Methods may be called from any thread and any event loop. A stream that is dropped frees its
    row.
    """

    _session: Session

    def __init__(
        self,
        session: Session,
        closed: Callable[[TranscriptStream], None],
        save: Callable[[], bytes],
        fork: Callable[[], TranscriptStream],
    ):
        """closed: told once, when the stream is closed. save, fork: what the methods do."""
        super().__init__(session, closed)
        self._save, self._fork = save, fork
        self._way: str | None = None
        self._promised = False  # room for one push, by `ready`
        self.final_events: list[Event] = []

    # ---- feed

    def feed(self, pcm: np.ndarray) -> list[Event]:
        """Hear more sound, and wait until it is heard.

        pcm: float32 mono (samples,) at `SpeechToText.sample_rate`, any number of samples; what
            does not fill a frame waits for the next call.
        Returns the events that became known, oldest first. Raises AudioError for samples that are
        no sound (not finite, or far out of -1 to 1) and ValueError for another shape or type or a
        closed stream; the stream goes on.
        """
        pcm = check_pcm(pcm)
        self._check_not_ended()  # before this was forked or saved
        self._use("feed")
        with self._session.changed:
            self._session.feed(pcm)
        return self._hear_all()

    # ---- push and iterate

    def push(self, pcm: np.ndarray) -> None:
        """Queue more sound, all of it or nothing, without waiting.

        pcm: as for `feed`.
        Raises:
            BusyError: more than 10 s wait to be heard, or 10 s of events have not been taken;
                `ready` waits for room.
        """
        pcm = check_pcm(pcm)
        self._use("push")
        self._check_going()
        with self._session.changed:
            if not (self._promised or self._room()):
                raise BusyError(
                    f"{self._seconds_waiting():.1f} s of sound wait to be heard and "
                    f"{self._session.untaken} frames of events to be taken (expected at most "
                    f"{WAITING_SECONDS:g} s of each; await ready())"
                )
            self._promised = False
            self._session.feed(pcm)
        worker.post()

    async def ready(self) -> None:
        """Wait until there is room: the next `push` is taken. May be cancelled."""
        self._use("push")
        await wait_async(self._session, self._may_push)
        self._promised = True  # although more events may come before it

    def mark(self, value: Any) -> None:
        """Have `Mark(value)` among the events, after all that is known of the whole frames before
        it. After `flush`, that is every word."""
        self._use("push")
        self._check_going()
        self._put(lambda: self._session.mark(value))

    def end(self) -> None:
        """No more sound comes: the rest is brought out, then the iteration stops."""
        self._use("push")

        session = self._session

        def drain_and_end() -> None:
            session.drain()
            session.ended = True  # not before: who iterates would see the end and not what comes

        if not session.ended:
            self._put(drain_and_end)

    def __iter__(self) -> Iterator[Event]:
        self._use("push")
        return self

    def __next__(self) -> Event:
        """The next event; waits for one. One iteration at a time."""
        with self._alone.taking():
            self._decide("push")
            wait(self._session, self._something)
            return self._next(StopIteration)

    def __aiter__(self) -> AsyncIterator[Event]:
        self._use("push")
        return self

    async def __anext__(self) -> Event:
        """The same in an event loop. May be cancelled without loss."""
        with self._alone.taking(asyncio.get_running_loop()):
            self._decide("push")
            await wait_async(self._session, self._something)
            return self._next(StopAsyncIteration)

    # ---- both

    def flush(self) -> list[Event]:
        """Everything spoken so far, without waiting out the delay.

        The model is given the delay's worth of silence and a second more, faster than real time;
        the clock does not count it, and the stream goes on. Returns the events where the stream is
        fed; where it is pushed they come by iteration, and the list is empty.
        """
        return self._both(self._session.drain)

    def reset(self) -> list[Event]:
        """Forget the context and keep the weights; times go on.

        No word is lost: returns what a flush gives, before forgetting.
        """

        def drain_and_restart() -> None:
            self._session.drain()
            self._session.restart()

        return self._both(drain_and_restart)

    def fork(self) -> TranscriptStream:
        """A second stream that has heard the same, with the sound that waits and the events that
        were not taken. BusyError where there is no row for it."""
        self._check_open()
        return self._fork()

    def save(self) -> bytes:
        """The stream as bytes, from which `SpeechToText.resume` makes it again, also in another
        process. ValueError if a mark's value is none that JSON can hold."""
        self._check_open()
        return self._save()

    def close(self) -> None:
        """Stop without a flush and give the row back. In a forked process it does nothing."""
        self._give_back()

    async def aclose(self) -> None:
        """Do what `close` does."""
        self.close()

    @property
    def partial_word(self) -> str:
        """The word in progress, as far as it is known; it becomes a Word when it is complete."""
        return self._session.partial_word

    @property
    def waiting(self) -> int:
        """Samples that were given and not yet heard; silence that was added does not count. 0 in a
        forked process, where nothing is heard."""
        session = self._session
        try:
            worker.check()  # before a lock is taken that may be held for ever
        except RuntimeError:
            return 0
        with session.changed:
            clock = session.clock
            heard = clock.seconds(clock.heard - session.samples)
            return clock.audio - round(heard * session.timing.sample_rate)

    @property
    def time(self) -> float:
        """Seconds of sound given so far."""
        return self._session.clock.now

    @property
    def rest(self) -> list[Event]:
        """The older name of `final_events`."""
        return self.final_events

    def __enter__(self) -> TranscriptStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and not self._closed and self._way == "feed":
                self.final_events = self.flush()
        finally:
            self.close()

    async def __aenter__(self) -> TranscriptStream:
        self._use("push")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # ---- for those who own the stream

    def finish(self, timeout: float) -> None:
        """End a pushed stream, and wait until all is heard, `timeout` seconds at most."""
        if self._way == "push" and not self._closed:
            self.end()
            wait(self._session, self._over, timeout)

    def give(self, pcm: np.ndarray) -> None:
        """Wait until there is room, and push. pcm: as for `feed`."""
        self._use("push")
        wait(self._session, self._may_push)
        self._promised = True
        self.push(pcm)

    async def give_async(self, pcm: np.ndarray) -> None:
        """Do what `give` does, in an event loop."""
        await self.ready()
        self.push(pcm)

    def wants_more(self) -> bool:
        """Whether more sound is of use: it always is."""
        return True

    def known(self) -> Iterator[Event]:
        """The events of what was pushed so far, without those that more sound brings."""
        session = self._session
        while session.events or not (session.idle or session.gone):
            wait(session, lambda: bool(session.events) or session.idle or session.gone)
            if session.events:
                yield self._next(StopIteration)

    # ---- within

    def _may_push(self) -> bool:
        return self._session.gone or self._room()

    def _use(self, way: str) -> None:
        self._check_open()
        self._decide(way)

    def _decide(self, way: str) -> None:
        """The first call decides how the stream is used."""
        with self._session.changed:
            if self._way is None:
                self._way = way
                self._session.partials = way == "push"
        if self._way != way:
            used, other = ("fed", "pushed") if self._way == "feed" else ("pushed", "fed")
            raise ValueError(f"the stream is {used}, so it cannot be {other} or iterated as well")

    def _check_open(self) -> None:
        worker.check()
        if self._closed or (self._session.gone and not self._session.error):
            raise ValueError("the stream is closed")

    def _check_going(self) -> None:
        self._check_not_ended()
        raise_error(self._session)

    def _check_not_ended(self) -> None:
        if self._session.ended:
            raise ValueError("the stream has ended (end() was called)")

    def _both(self, task: Callable[[], None]) -> list[Event]:
        self._check_not_ended()
        self._use(self._way or "feed")
        if self._way == "push":
            raise_error(self._session)
            self._put(task)
            return []
        with self._session.changed:
            task()
        return self._hear_all()

    def _put(self, task: Callable[[], None]) -> None:
        with self._session.changed:
            task()
        worker.post()

    def _hear_all(self) -> list[Event]:
        """Wait until nothing waits to be heard. Ctrl-C ends the waiting and not the hearing: the
        events are there for the next call."""
        worker.post()
        events: list[Event] = []
        session = self._session
        try:
            while True:
                wait(session, self._heard)
                with session.changed:
                    idle = session.idle
                    events += session.take_events()
                if idle:
                    return events
                raise_error(session)
                self._check_open()
                worker.post()
        except BaseException:
            with session.changed:
                session.events.extendleft(reversed(events))
                session.untaken += sum(isinstance(event, Pause) for event in events)
            raise

    def _heard(self) -> bool:
        session = self._session
        return session.idle or session.gone or session.untaken >= _TAKEN_AT_ONCE

    def _room(self) -> bool:
        return self._seconds_waiting() <= WAITING_SECONDS and not self._session.crowded

    def _seconds_waiting(self) -> float:
        session = self._session  # what is heard again was taken before
        return (session.samples - session.again_samples) / session.timing.sample_rate

    def _something(self) -> bool:
        return bool(self._session.events) or self._over()

    def _over(self) -> bool:
        return self._session.gone or (self._session.ended and self._session.idle)

    def _next(self, stop: type[Exception]) -> Event:
        with self._session.changed:
            crowded = self._session.crowded
            event = self._session.take_event()
        if event is None:
            raise_error(self._session)
            raise stop
        if crowded:
            worker.post()  # which may go on now
            self._session.tell()
        return event
