"""Ctrl-C and its like, let through where they do no harm and held back where they would."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable

from dsm_mlx.runtime.signals import take_over

_AGAIN = 1.0  # seconds


class Interrupts:
    """Inside the block SIGINT, SIGTERM and SIGHUP are a KeyboardInterrupt, or wait.

    They wait from the first instruction to the last, except while `let_through` runs.
    Signals that the process ignores stay ignored. In a thread that is not the main one, which
    Python does not let handle signals, this does nothing.

    waiting: whether a signal has arrived, raised or not.
    """

    def __init__(self):
        self.waiting = False
        self._held, self._raised, self._before = True, -math.inf, {}

    def __enter__(self) -> Interrupts:
        self._before = take_over(self._arrived)
        return self

    def __exit__(self, *_) -> None:
        # SIGINT last: while the others go back it still waits.
        for number in reversed(self._before):
            signal.signal(number, self._before[number])

    def let_through(self, work: Callable[[], None]) -> None:
        """Do some work that a signal may end; one that waits does so at once."""
        try:
            self._held = False
            self.raise_waiting()
            work()
        except Exception:
            # An extension module that was being imported makes an ImportError of an interrupt.
            self.raise_waiting()
            raise
        finally:
            self.hold()

    def hold(self) -> None:
        """From here on signals wait; needed where one may have come in the end of `let_through`."""
        self._held = True

    def raise_waiting(self) -> None:
        """KeyboardInterrupt if a signal has arrived."""
        if self.waiting:
            raise KeyboardInterrupt

    def _arrived(self, *_) -> None:
        self.waiting = True
        # One a second: a second signal must not break what the first one's exception unwinds, and
        # an exception that a finaliser has swallowed must not be the last.
        if not self._held and time.monotonic() - self._raised > _AGAIN:
            self._raised = time.monotonic()
            raise KeyboardInterrupt
