"""An event loop on a thread of its own, for those who have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_END_SECONDS = 2.0

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for other threads, which wait for them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="dsm_mlx chat", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """What it returns or raises. What ends this waiting, such as Ctrl-C, cancels it."""
        done = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return done.result()
        except BaseException:
            done.cancel()
            raise

    @property
    def is_current(self) -> bool:
        """Whether it is the one that asks."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """End the loop, and the thread. What ran in it has been told to end before."""
        self.run(self.loop.shutdown_asyncgens())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_END_SECONDS)
        if not self._thread.is_alive():  # else somebody blocks it, and it is left behind
            self.loop.close()
