"""Waiting for a session or a call, in a thread or in an event loop, and never for ever."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from dsm_mlx.runtime import worker
from dsm_mlx.runtime.session import Session

Item = TypeVar("Item")

END = object()
"""In the place of an item: there is none any more."""

_LONG = 86_400.0  # seconds


# ---- for a session


def raise_error(session: Session) -> None:
    """Raise what ended a session, if anything did: each time a new error, because a traceback
    belongs to one thread."""
    if session.error is not None:
        raise type(session.error)(*session.error.args) from session.error


def wait(session: Session, until: Callable[[], bool], timeout: float | None = None) -> bool:
    """Wait until `until()`, which is called with `changed` held; False if the time was too short.

    Raises:
        RuntimeError: nothing will ever change (see `Worker.check`).
        Exception: what ended the session before that.
    """
    worker.check()
    done = False

    def over() -> bool:
        nonlocal done
        done = until()
        return done or session.error is not None

    session.changed.wait_for(over, timeout)
    if not done:
        raise_error(session)
    return done


async def wait_async(session: Session, until: Callable[[], bool]) -> None:
    """The same in an event loop. It may be cancelled: nothing is taken here."""
    worker.check()
    done = False

    def over() -> bool:
        nonlocal done
        with session.changed:
            done = until()
            return done or session.error is not None

    await _woken(session.wake_by, over)
    if not done:
        raise_error(session)


async def _woken(wake_by: Callable[..., None], until: Callable[[], bool]) -> None:
    """Wait until `until()`, looking again whenever the function that `wake_by` is given is called,
    by any thread. `wake_by(function, on=False)` says that it is not wanted any more."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    # The loop holds the task that waits, as long as it is open, and who wakes does not: if it is
    # closed before its tasks have ended, they and what they hold can go.
    held = loop.call_later(_LONG, changed.set)
    known = weakref.ref(changed)

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has been closed
            if (event := known()) is not None:
                loop.call_soon_threadsafe(event.set)
                return
        wake_by(wake, on=False)  # nobody waits there

    wake_by(wake)
    collected = False
    try:
        while not until():
            await changed.wait()
            changed.clear()
    except GeneratorExit:  # perhaps by the collector, under which no lock may be taken
        collected = True
        raise
    finally:
        held.cancel()
        if not collected:
            wake_by(wake, on=False)


class Alone:
    """Lets one at a time iterate; who was left behind in a closed event loop does not count."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: _Holder | None = None

    @contextmanager
    def taking(self, loop: asyncio.AbstractEventLoop | None = None) -> Iterator[None]:
        """loop: in which it is done; None: in a thread.

        Raises:
            RuntimeError: as `Worker.check`.
            ValueError: there is somebody already.
        """
        worker.check()  # before a lock is taken, in what may be a forked process
        me = _Holder(loop)
        with self._lock:
            if self._holder and not self._holder.left_behind:
                raise ValueError("the stream is being iterated already, in another place")
            self._holder = me
        try:
            yield
        finally:
            if self._holder is me:
                self._holder = None


class _Holder:
    def __init__(self, loop: asyncio.AbstractEventLoop | None):
        self._loop = loop

    @property
    def left_behind(self) -> bool:
        return self._loop is not None and self._loop.is_closed()


# ---- for a call


class Call(Generic[Item]):
    """A function that runs in a thread of its own, and may be waited for in any event loop.

    A loop's own pool has few threads, so that some sources that are silent would stop all others,
    and the end of the loop waits for them. For this one nobody has to wait.
    """

    def __init__(self, function: Callable[[], Item]):
        self._future: Future[Item] = Future()
        self._stops: list[Callable[[], None]] = []
        self.given_up = False
        run = partial(copy_context().run, self._run, function)
        threading.Thread(target=run, name="dsm_mlx call", daemon=True).start()

    def _run(self, function: Callable[[], Item]) -> None:
        _current.set(self)
        try:
            self._future.set_result(function())
        except BaseException as error:
            self._future.set_exception(error)

    def wait(self) -> None:
        """Until the function has ended."""
        self._future.exception()

    async def wait_async(self) -> None:
        """The same in an event loop. May be cancelled: the call goes on."""
        await _woken(self._wake_by, self._future.done)

    def result(self) -> Item:
        """What the function returned or raised, once it has ended."""
        return self._future.result()

    def _wake_by(self, waker: Callable[[], None], on: bool = True) -> None:
        if on:
            self._future.add_done_callback(lambda _: waker())

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.given_up = True
        for stop in list(self._stops):
            stop()

    def when_given_up(self, stop: Callable[[], None], on: bool = True) -> None:
        """Call `stop` then, or not any more; it must be quick."""
        (self._stops.append if on else self._stops.remove)(stop)
        if on and self.given_up:
            stop()


_current: ContextVar[Call[Any] | None] = ContextVar("dsm_mlx call", default=None)


class GivenUpError(Exception):
    """Nobody waits for what is done here any more."""


@contextmanager
def stopped_by_caller(stop: Callable[[], None]) -> Iterator[None]:
    """While this lasts, call `stop` if who waits for this in an event loop gives up.

    Raises:
        GivenUpError: at the end, if that has happened.
    """
    call = _current.get()
    if call is None:
        yield
        return
    call.when_given_up(stop)
    try:
        yield
    finally:
        call.when_given_up(stop, on=False)
    if call.given_up:
        raise GivenUpError


async def in_thread(
    function: Callable[..., Item],
    *args: Any,
    progress: Callable[[Any], None] | None = None,
    **options: Any,
) -> Item:
    """Call a function that takes `progress` in a thread. Cancelling ends it at its next one, and
    where it waits in `stopped_by_caller`."""

    def told(value: Any) -> None:
        call = _current.get()
        if call and call.given_up:
            raise GivenUpError
        if progress:
            progress(value)

    call = Call(partial(function, *args, progress=told, **options))
    try:
        await call.wait_async()
    except BaseException:
        call.give_up()
        raise
    return call.result()


class Both(Generic[Item]):
    """A generator for `for` and for `async for`, where each item is made in a thread.

    One iteration at a time. An `__anext__` that is cancelled loses nothing: what is being made
    then comes next, in whatever loop. `close` (or `aclose`) may be called from any thread and ends
    the generator; so does dropping it.
    """

    def __init__(self, items: Generator[Item, None, None], stop: Callable[[], None]):
        """stop: makes a `next` that waits in another thread end soon. Takes no lock."""
        self._items, self._stop = items, stop
        self._coming: Call[Any] | None = None
        self._alone, self._closed = Alone(), threading.Event()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        with self._alone.taking():
            if self._coming:
                self._coming.wait()
                item = self._taken(self._coming)
            else:
                item = next(self._items, END)
        if item is END:
            raise StopIteration
        return item

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        with self._alone.taking(asyncio.get_running_loop()):
            coming = self._coming
            if coming is None:
                # It holds the generator and not us, so that we can be dropped meanwhile.
                make = partial(_make, self._items, self._closed)
                coming = self._coming = Call(make)
            await coming.wait_async()
            item = self._taken(coming)
        if item is END:
            raise StopAsyncIteration
        return item

    def _taken(self, coming: Call[Any]) -> Any:
        self._coming = None
        return coming.result()

    def close(self) -> None:
        """End the generator, which frees what it holds. From any thread."""
        self._closed.set()
        self._stop()
        _end(self._items)
        self._coming = None

    async def aclose(self) -> None:
        """Do what `close` does."""
        self.close()

    def __del__(self) -> None:
        self._stop()


def _make(items: Generator[Item, None, None], closed: threading.Event) -> Any:
    item = next(items, END)
    if closed.is_set():  # meanwhile, when the generator could not be ended from there
        _end(items)
    return item


def _end(items: Generator[Any, None, None]) -> None:
    with suppress(ValueError):  # it runs in another thread, which will do it
        items.close()
