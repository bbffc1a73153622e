"""An event loop on a thread of its own, for those who have none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_END_SECONDS = 2.0

Result = TypeVar("Result")


class EndedError(Exception):
    """The loop runs no more."""


class LoopThread:
    """Runs coroutines for other threads, which wait for them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._lock, self._ended = threading.Lock(), False
        self._running: set[concurrent.futures.Future[Any]] = set()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="dsm_mlx chat", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What it returns or raises. What ends this waiting, such as Ctrl-C, cancels it.

        Raises:
            EndedError: the loop has been closed, perhaps by another thread.
        """
        with self._lock:
            if self._ended:
                coroutine.close()
                raise EndedError
            done = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
            self._running.add(done)
        try:
            return done.result()
        except BaseException:
            done.cancel()
            raise
        finally:
            self._running.discard(done)

    @property
    def is_current(self) -> bool:
        """Whether it is the one that asks."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the loop, and the thread. What ran in it has been told to end before."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            concurrent.futures.wait(set(self._running), _END_SECONDS)
        generators = asyncio.run_coroutine_threadsafe(self._loop.shutdown_asyncgens(), self._loop)
        concurrent.futures.wait([generators], _END_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():  # else somebody blocks it, and it is left behind
            self._loop.close()
