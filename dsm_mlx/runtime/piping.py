"""From a source to what comes of it: a stream that is fed by an iterable and owned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from dsm_mlx.runtime.waiting import END, Call

Out = TypeVar("Out", covariant=True)


class Pipe(Protocol[Out]):
    """What a stream must be able to do for that."""

    def give(self, item: Any) -> None:
        """Take an item of the source, when there is room."""

    async def give_async(self, item: Any) -> None:
        """The same in an event loop."""

    def wants_more(self) -> bool:
        """Whether anything can come of more items; else the rest of the source is not looked at."""

    def known(self) -> Iterator[Out]:
        """What comes of the items so far."""

    def end(self) -> None: ...

    def close(self) -> None: ...

    def __iter__(self) -> Iterator[Out]: ...

    def __aiter__(self) -> AsyncIterator[Out]: ...


class Piped(Generic[Out]):
    """What comes of a source, for `for` and for `async for`, once.

    The stream is closed when the iteration ends, however it ends. Under `async for` an iterable is
    read in a thread, and an async iterable in a task. An error of the source, or of what it gives,
    is raised after all that came of it before.
    """

    def __init__(self, stream: Pipe[Out], source: Iterable[Any] | AsyncIterable[Any]):
        if not isinstance(source, (Iterable, AsyncIterable)):
            stream.close()
            raise TypeError(
                f"source is {type(source).__name__} (expected an iterable or an async iterable)"
            )
        self._stream, self._source = stream, source

    def __iter__(self) -> Iterator[Out]:
        try:
            if not isinstance(self._source, Iterable):
                raise TypeError(
                    f"source is {type(self._source).__name__}, which is asynchronous (use async "
                    "for)"
                )
            failed = None
            try:
                for item in self._source:
                    self._stream.give(item)
                    yield from self._stream.known()
                    if not self._stream.wants_more():
                        break
            except Exception as error:
                failed = error
            failed = self._end(failed)
            yield from self._stream
            if failed:
                raise failed
        finally:
            self._stream.close()

    async def __aiter__(self) -> AsyncIterator[Out]:
        giving = asyncio.ensure_future(self._give())
        try:
            async for out in self._stream:
                yield out
            if self._stream.wants_more():
                if not giving.done():  # and the source may be silent for ever
                    raise ValueError("the stream is closed")
                giving.result()  # raises what went wrong with the source
        finally:
            self._stream.close()
            giving.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await giving

    async def _give(self) -> None:
        failed = None
        try:
            if isinstance(self._source, AsyncIterable):
                async for item in self._source:
                    await self._stream.give_async(item)
            else:
                await self._give_from(iter(self._source))
        except Exception as error:
            failed = error
        failed = self._end(failed)
        if failed:
            raise failed

    async def _give_from(self, items: Iterator[Any]) -> None:
        while True:
            reading = Call(partial(next, items, END))
            await reading.wait_async()
            if (item := reading.result()) is END:
                return
            await self._stream.give_async(item)

    def _end(self, failed: Exception | None) -> Exception | None:
        """Nothing more comes; the first thing that went wrong, if anything did."""
        try:
            self._stream.end()
        except Exception as error:
            return failed or error
        return failed
