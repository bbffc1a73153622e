"""Calls that may block, one after another on a thread of their own, awaited in an event loop."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

Result = TypeVar("Result")


class Aside:
    """A thread for what must not stop the event loop, and must not run twice at once.

    The thread is begun by the first call. It is a daemon: a call that never returns holds up
    neither `close` nor the end of the interpreter, only those that come after it.
    """

    def __init__(self, name: str):
        self._name, self._calls = name, queue.SimpleQueue[Callable[[], None] | None]()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """What the function returns or raises. May be cancelled: one that has not begun then does
        not begin, another one goes on, and what it returns is dropped."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()

        def call() -> None:
            if done.cancelled():
                return
            try:
                told = partial(_set_result, done, function(*args))
            except BaseException as error:
                told = partial(_set_error, done, error)
            with suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(told)

        self._put(call)
        return await done

    def post(self, function: Callable[[], object]) -> None:
        """Call it when its turn comes. Nobody waits for it, and its errors are nobody's."""

        def call() -> None:
            with suppress(Exception):
                function()

        self._put(call)

    async def free(self, seconds: float) -> bool:
        """Wait until what was given has ended; False if that takes longer."""
        if self._thread is None:
            return True
        nothing = asyncio.ensure_future(self.run(lambda: None))
        try:
            done, _ = await asyncio.wait([nothing], timeout=seconds)
        finally:
            nothing.cancel()
        return bool(done)

    def close(self) -> None:
        """End the thread, after what was given to it."""
        if self._thread is not None:
            self._calls.put(None)

    def _put(self, call: Callable[[], None]) -> None:
        if self._thread is None:
            name = f"dsm_mlx {self._name}"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()
        self._calls.put(call)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # which holds what it returned


def _set_result(done: asyncio.Future[Result], result: Result) -> None:
    if not done.done():
        done.set_result(result)


def _set_error(done: asyncio.Future[Any], error: BaseException) -> None:
    if isinstance(error, StopIteration):  # which no future takes
        error = RuntimeError(f"StopIteration was raised: {error}")
    if not done.done():
        done.set_exception(error)
