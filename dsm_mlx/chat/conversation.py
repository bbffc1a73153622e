"""A conversation: listening, thinking and speaking, with interruptions handled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dsm_mlx.chat.asking import Reply
from dsm_mlx.chat.events import Event
from dsm_mlx.chat.hearing import opened
from dsm_mlx.chat.messages import Messages
from dsm_mlx.chat.outbox import Outbox
from dsm_mlx.chat.plain import EndedError, LoopThread
from dsm_mlx.chat.player import Player, Sink
from dsm_mlx.chat.speaking import Utterance
from dsm_mlx.chat.talk import Parts, Talk
from dsm_mlx.checks import check_flag, check_number, check_text
from dsm_mlx.messages import shown
from dsm_mlx.options import TurnPolicy
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.text.rules import as_far_as_it_can

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11

_WAIT_SECONDS = 2.0  # for a row of the speech model that others have


class Conversation:
    """Somebody speaks, `reply` answers, and the answer is said while it is still being written.

    Take what happens by `for event in conversation`, or by `async for`; the first call decides.
    Leaving a `with` or `async with` block, or `close`, ends it at once: both streams give back
    their rows, a reply in progress is closed, the sink falls silent. The source and the sink stay
    open, and are yours to close. The iteration ends when the source does and all is said.

    `say`, `interrupt`, `messages`, `device` and `close` may be used from any thread.

    Args:
        stt, tts: models, as `load_stt` and `load_tts` give them.
        reply: called with the messages so far, a list of {"role": "system", "user" or "assistant",
            "content": str}. It returns the answer as str, an iterator or an async iterator of
            pieces of it, or an awaitable of one of these. It is called on a thread of its own, and
            so is an iterator, which may block. When the person goes on or interrupts, an iterator
            is closed (`close`, `aclose`), and what is awaited is cancelled.
        source: an iterable or an async iterable of float32 (samples,) at `stt.sample_rate`, such as
            a `Microphone`. An iterable is read in a thread.
        sink: what plays sound at `tts.sample_rate`: a `Speaker`, or see `Sink`.
        system: the first message.
        voice: as in `TextToSpeech.stream`.
        turns: when a turn has ended.
        full_duplex: the person is heard while the assistant speaks, and can interrupt it: by two
            words, or one word and 0.3 s of speech. For headphones, or where echo is cancelled. If
            not, silence is heard in the place of the source then, and for `settle` seconds after.
        patience: seconds of sound after the end of a turn in which the person may go on, as long as
            nothing of the answer was heard; then the turn was not over.
        sorry: is said when a reply fails.
        speech: more options of `TextToSpeech.stream`. Unless it says otherwise, Markdown and
            numbers are read as docs/text.md has it, and code is left out.
        hearing: more options of `SpeechToText.stream`.

    Raises:
        TypeError, ValueError: what is wrong with which argument. What is wrong with `voice`,
            `speech` or `hearing` is raised at the beginning, and so is BusyError where a model has
            no row free.
    """

    def __init__(
        self,
        stt: SpeechToText,
        tts: TextToSpeech,
        reply: Reply,
        *,
        source: Iterable[np.ndarray] | AsyncIterable[np.ndarray],
        sink: Sink,
        system: str | None = None,
        voice: Any = None,
        turns: TurnPolicy | None = None,
        full_duplex: bool = False,
        patience: float = 0.6,
        settle: float = 0.3,
        sorry: str | None = None,
        speech: Mapping[str, Any] | None = None,
        hearing: Mapping[str, Any] | None = None,
    ):
        for name, text in (("system", system), ("sorry", sorry)):
            if text is not None:
                check_text(name, text)
        _check_parts(reply, source, sink)
        heard: dict[str, Any] = {"turns": turns or TurnPolicy(), **(hearing or {})}
        said: dict[str, Any] = {
            "normalize": as_far_as_it_can("auto"),
            "wait": _WAIT_SECONDS,
            **(speech or {}),
        }
        delay = heard.get("delay")
        open_speech = partial(tts.stream, voice, **said)
        self._player = Player(sink)
        parts = Parts(
            open_transcript=partial(opened, partial(stt.stream, **heard)),
            utter=partial(Utterance, open_speech, self._player),
            check_speech=lambda: open_speech().close(),
            reply=reply,
            source=source,
            sample_rate=stt.sample_rate,
            delay=stt.delay if delay is None else delay,
            full_duplex=check_flag("full_duplex", full_duplex),
            patience=check_number("patience", patience, 0.0, 60.0),
            settle=check_number("settle", settle, 0.0, 60.0),
            sorry=sorry,
        )
        self._messages, self._events = Messages(system), Outbox()
        self._talk = Talk(parts, self._messages, self._events)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._thread: LoopThread | None = None  # which has the loop, under `for`
        self._closed = self._stopped = False

    @property
    def messages(self) -> list[dict[str, str]]:
        """All that was said so far, in the form that `reply` is given; of an answer that was
        interrupted what was heard. Several in a row of the same role are one message."""
        return self._messages.plain()

    def say(self, text: str) -> None:
        """Say something that is no answer, such as a greeting: now, or after what is being said.
        It becomes a message of the assistant's."""
        check_text("text", text)
        self._call(partial(self._talk.say, text))

    def interrupt(self) -> None:
        """Stop the assistant, as if somebody had spoken over it."""
        self._call(self._talk.interrupt)

    def device(self, event: Any) -> None:
        """What happened to a microphone or a loudspeaker becomes an event here, too.

        event: a `DeviceEvent`; give this method as `on_event` to what tells them.
        """
        self._call(partial(self._talk.device, event.kind, event.message))

    # ---- for

    def __enter__(self) -> Self:
        self._plain()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        """The next event; waits for one. Ctrl-C may end the waiting: nothing is lost."""
        if self._closed and self._running:
            raise StopIteration
        thread = self._plain()
        try:
            event = thread.run(self._events.take())
        except EndedError:  # another thread has closed it
            raise StopIteration from None
        except Exception:
            self.close()
            raise
        if event is None:
            self.close()
            raise StopIteration
        return event

    # ---- async for

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        """The next event. May be cancelled without loss."""
        await self._begin()
        if (event := await self._events.take()) is None:
            await self.aclose()
            raise StopAsyncIteration
        return event

    # ---- the end

    def close(self) -> None:
        """End it. In an event loop this returns before all has ended; `aclose` waits for that."""
        self._closed = True
        thread = self._thread
        if thread and not thread.is_current:
            self._thread = None
            with suppress(EndedError):  # another thread does it
                thread.run(self.aclose())
            thread.close()
        elif self._loop and self._running:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._stop)

    async def aclose(self) -> None:
        """End it, and wait until all has ended."""
        self._closed = True
        if self._running:
            self._stop()
            await asyncio.wait([self._running])

    # ---- within

    def _stop(self) -> None:
        """Once: what ends in it shall not be disturbed."""
        if self._running and not self._stopped:
            self._stopped = True
            self._running.cancel()

    def _plain(self) -> LoopThread:
        """The thread in which it goes on; `close` may take it away at any moment."""
        if thread := self._thread:
            return thread
        self._check_new("for")
        self._thread = thread = LoopThread()
        try:
            thread.run(self._open())
        except BaseException:
            self.close()
            raise
        return thread

    async def _begin(self) -> None:
        if self._running is None or self._thread:
            self._check_new("async for")
            try:
                await self._open()
            except BaseException:
                await self.aclose()
                raise

    def _check_new(self, way: str) -> None:
        if self._closed:
            raise ValueError("the conversation is closed")
        if self._running:
            used = "for" if self._thread else "async for"
            raise ValueError(f"the conversation is used by {used} (so not by {way} as well)")

    async def _open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running = asyncio.ensure_future(self._talk.run())
        self._running.add_done_callback(self._ended)
        await self._talk.ready()

    def _ended(self, _: object) -> None:
        self._talk.ended()
        self._player.close()

    def _call(self, function: Callable[[], object]) -> None:
        """In the loop, or now where there is none yet."""
        if self._closed:
            raise ValueError("the conversation is closed")
        if self._loop is None:
            function()
        else:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(function)


def _check_parts(reply: Any, source: Any, sink: Any) -> None:
    if not callable(reply):
        raise TypeError(f"reply is {shown(reply)} (expected a function of the messages)")
    if not isinstance(source, (Iterable, AsyncIterable)):
        raise TypeError(f"source is {shown(source)} (expected an iterable or an async iterable)")
    missing = [name for name in ("write", "drain", "stop", "position") if not hasattr(sink, name)]
    if missing:
        raise TypeError(f"sink is {shown(sink)}, without {', '.join(missing)} (expected a Speaker)")
