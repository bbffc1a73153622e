"""Ctrl-C and its like: the first one ends the work, the second one the process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dsm_mlx.runtime.signals import take_over

_SAME = 0.3  # seconds: `timeout` and others that start us send a signal twice at once
STATUS = 130


class Interruptions:
    """Inside the block SIGINT, SIGTERM and SIGHUP end the process; inside `gently`, with care.

    There the first is a KeyboardInterrupt in the main thread, and the next one, from 0.3 s later
    on, ends the process. Signals that the process ignores stay ignored. Outside the main thread,
    which alone may handle signals, this does nothing.

    at_exit: the process ends after the block: signals that come then end it, too, instead of
    giving a KeyboardInterrupt that Python would write about.
    arrived: whether a signal has come.
    """

    def __init__(self, at_exit: bool = False):
        self.arrived = False
        self._at_exit, self._gently, self._first = at_exit, False, 0.0
        self._before: dict[int, Any] = {}  # handlers

    def __enter__(self) -> Interruptions:
        self._before = take_over(self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, signal.SIG_DFL if self._at_exit else before)

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Inside this block the first signal is a KeyboardInterrupt.

        Not for importing modules: an extension module makes another error of it, and a callback of
        Python's own import swallows it.
        """
        self._gently = True
        try:
            yield
        finally:
            self._gently = False

    def _take(self, *_: object) -> None:
        if not self._gently or (self.arrived and time.monotonic() - self._first > _SAME):
            with suppress(OSError):
                os.write(2, b"interrupted\n")
            os._exit(STATUS)
        if not self.arrived:
            self.arrived, self._first = True, time.monotonic()
            raise KeyboardInterrupt
