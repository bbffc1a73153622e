"""A live stream: text goes in as it is written, sound comes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

from dsm_mlx.checks import check_text
from dsm_mlx.results import Chunk
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.stream import RowStream
from dsm_mlx.runtime.waiting import raise_error, wait, wait_async
from dsm_mlx.tts.session import Session

_WORDS_AHEAD = 200  # a minute and more


class SpeechStream(RowStream):
    """Text to speech as the text comes in. Made by `TextToSpeech.stream`.

    Any thread or event loop may feed, end or cancel while another one iterates. Iterating waits
    for text where more is needed to go on as if all of it had been known, so one that is not ended
    never stops. Speech is made ahead of the iteration, two seconds at most. Leaving a `with` or
    `async with` block cancels what has not been said. A stream that is dropped frees its row.
    """

    _session: Session

    def __init__(
        self,
        session: Session,
        closed: Callable[[SpeechStream], None],
        fork: Callable[[], SpeechStream],
    ):
        """closed: told once, when the stream is closed. fork: what the method does."""
        super().__init__(session, closed)
        self._fork = fork

    @property
    def cut_short(self) -> bool:
        """Whether `max_seconds` of sound were made before all of the text was said. The iteration
        ends there, with a warning in the log."""
        return self._session.cut_short

    def feed(self, text: str) -> None:
        """More text, cut anywhere: any split gives the same speech.

        Raises:
            ValueError: it holds a tag other than `<break time="..."/>` (the tag is left out and
                the stream goes on), the text has ended, or the stream is closed.
        """
        check_text("text", text)
        self._check_open()
        try:
            self._session.script.feed(text)
        finally:
            worker.post()

    def end(self) -> None:
        """No more text follows. May be called twice.

        Raises:
            ValueError: the text ends inside a break tag; the rest is said.
        """
        worker.check()
        try:
            self._session.script.end()
        finally:
            worker.post()
            self._session.tell()

    def cancel(self) -> None:
        """Fall silent: the iteration ends, and the row is free at the next step. What a player
        holds is the player's. In a forked process it does nothing."""
        self._give_back()

    def close(self) -> None:
        """Do what `cancel` does."""
        self.cancel()

    async def aclose(self) -> None:
        """Do what `cancel` does."""
        self.cancel()

    @property
    def left_out(self) -> tuple[str, ...]:
        """What of the text so far cannot be said, such as emoji; each once, the first 20."""
        return self._session.script.left_out

    def fork(self) -> SpeechStream:
        """A second stream that has said the same, with the text that waits and the sound that was
        not taken. BusyError where there is no row for it."""
        self._check_open()
        return self._fork()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        """The next 80 ms of sound, with the words that begin in it. What ends this waiting from
        outside, such as Ctrl-C, cancels the stream."""
        with self._alone.taking():
            try:
                wait(self._session, self._something)
            except BaseException:
                self.cancel()
                raise
            return self._next(StopIteration)

    def __aiter__(self) -> AsyncIterator[Chunk]:
        return self

    async def __anext__(self) -> Chunk:
        """The same in an event loop. May be cancelled without loss."""
        with self._alone.taking(asyncio.get_running_loop()):
            await wait_async(self._session, self._something)
            return self._next(StopAsyncIteration)

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    async def __aenter__(self) -> SpeechStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()

    # ---- for those who own the stream

    def finish(self, timeout: float) -> None:
        """End the text, and wait until all is said and taken, `timeout` seconds at most."""
        self.end()
        wait(self._session, lambda: self._session.over and not self._session.chunks, timeout)

    def give(self, text: str) -> None:
        """Do what `feed` does."""
        self.feed(text)

    async def give_async(self, text: str) -> None:
        """Wait until not too many words wait to be said, as a source may have no end, and feed."""
        await wait_async(self._session, self._may_feed)
        self.feed(text)

    def wants_more(self) -> bool:
        """Whether sound can still come of more text."""
        return not self.cut_short

    def known(self) -> Iterator[Chunk]:
        """The sound that can be made of the text so far."""
        session = self._session
        while True:
            wait(session, lambda: bool(session.chunks) or session.settled)
            if not session.chunks:
                return
            try:
                chunk = self._next(StopIteration)
            except StopIteration:  # cancelled meanwhile
                return
            yield chunk

    # ---- within

    def _check_open(self) -> None:
        worker.check()
        if self._closed:
            raise ValueError("the stream is closed")

    def _may_feed(self) -> bool:
        return self._session.gone or self._session.script.words < _WORDS_AHEAD

    def _something(self) -> bool:
        return self._closed or bool(self._session.chunks) or self._session.over

    def _next(self, stop: type[Exception]) -> Chunk:
        session = self._session
        with session.changed:
            chunk = session.chunks.popleft() if session.chunks and not self._closed else None
        if chunk is None:
            if not self._closed:
                session.warn_if_cut_short()
            self.cancel()
            raise_error(session)
            raise stop
        worker.post()  # there is room for more
        return chunk
