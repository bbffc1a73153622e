"""Waiting for a session, in a thread or in an event loop, and never for ever."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Generic, TypeVar

from dsm_mlx.runtime import worker
from dsm_mlx.runtime.session import Session

Item = TypeVar("Item")


def raise_error(session: Session) -> None:
    """Raise what ended a session, if anything did: each time a new error, because a traceback
    belongs to one thread."""
    if session.error is not None:
        raise type(session.error)(*session.error.args) from session.error


def wait(session: Session, until: Callable[[], bool], timeout: float | None = None) -> bool:
    """Wait until `until()`, which is called with `changed` held; False if the time was too short.

    Raises:
        RuntimeError: nothing will ever change (see `Worker.check`).
        Exception: what ended the session.
    """
    worker.check()
    with session.changed:
        done = session.changed.wait_for(
            lambda: session.error is not None or until(), timeout=timeout
        )
    raise_error(session)
    return done


async def wait_async(session: Session, until: Callable[[], bool]) -> None:
    """The same in an event loop. It may be cancelled: nothing is taken here."""
    worker.check()
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has been closed: nobody waits there
            loop.call_soon_threadsafe(changed.set)

    session.wake_by(wake)
    try:
        while True:
            with session.changed:
                done = session.error is not None or until()
            if done:
                break
            await changed.wait()
            changed.clear()
    finally:
        session.wake_by(wake, on=False)
    raise_error(session)


class _StoppedError(Exception):
    """Nobody waits any more."""


async def in_thread(
    function: Callable[..., Item],
    *args: Any,
    progress: Callable[[Any], None] | None = None,
    **options: Any,
) -> Item:
    """Call a function that takes `progress` in a thread; cancelling ends it at its next one."""
    stopped = threading.Event()

    def told(value: Any) -> None:
        if stopped.is_set():
            raise _StoppedError
        if progress:
            progress(value)

    try:
        return await asyncio.to_thread(function, *args, progress=told, **options)
    except asyncio.CancelledError:
        stopped.set()
        raise


class Both(Generic[Item]):
    """A generator for `for` and for `async for`, where each item is made in a thread.

    An `__anext__` that is cancelled loses nothing: what is being made then comes next. `close`
    (or `aclose`) may be called from any thread and ends the generator.
    """

    def __init__(self, items: Iterator[Item], stop: Callable[[], None]):
        """stop: makes a `next` that waits in another thread end soon."""
        self._items, self._stop = items, stop
        self._coming: asyncio.Future | None = None

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        return next(self._items)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        if self._coming is None:
            self._coming = asyncio.ensure_future(asyncio.to_thread(next, self._items, _END))
        item = await asyncio.shield(self._coming)
        self._coming = None
        if item is _END:
            raise StopAsyncIteration
        return item

    def close(self) -> None:
        self._stop()
        with suppress(ValueError):  # running in another thread, where it ends by itself
            self._items.close()

    async def aclose(self) -> None:
        self._stop()
        if self._coming is not None:
            with suppress(Exception):
                await self._coming
            self._coming = None
        await asyncio.to_thread(self.close)


_END = object()
