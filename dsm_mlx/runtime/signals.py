"""The signals that ask a process to end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def take_over(handler: Callable[..., object]) -> dict[int, Any]:
    """Have `handler` called for each of them; returns what handled them before, by their numbers.

    Signals that the process ignores stay ignored. In a thread that is not the main one, which
    Python does not let handle signals, nothing is taken over.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    known = {number: signal.getsignal(number) for number in ENDING}
    before: dict[int, Any] = {n: b for n, b in known.items() if b not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handler)
    return before
