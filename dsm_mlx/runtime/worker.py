"""One thread owns all arrays; any thread may call.

MLX binds lazy arrays and random state to the thread that made them, and Metal command buffers do
not like company. So models are loaded and stepped on one thread of ours, and callers wait for it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

_start = threading.Lock()
_jobs: queue.SimpleQueue = queue.SimpleQueue()
_owner: threading.Thread | None = None


def run(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call `function` on the owner thread and wait for what it returns or raises.

    Jobs run one at a time in the order they come; keep each short (a frame or a few), so that
    sessions share the device fairly and Ctrl-C is heard.

    Raises:
        RuntimeError: this process was forked from one that had already begun to compute: neither
            the thread nor what MLX holds comes along.
    """
    global _owner
    if threading.current_thread() is _owner:
        return function(*args, **kwargs)
    with _start:
        if _owner is None:
            # A daemon: MLX aborts the process when a thread that used it ends before the process.
            _owner = threading.Thread(target=_work, name="dsm_mlx worker", daemon=True)
            _owner.start()
        elif not _owner.is_alive():
            raise RuntimeError(
                "this process was forked after dsm_mlx had begun to compute; load the model in "
                "the new process, started by multiprocessing's method 'spawn'"
            )
    future: Future = Future()
    _jobs.put((future, function, args, kwargs))
    return future.result()


def _work() -> None:
    while True:
        _do(*_jobs.get())


def _do(future: Future, function: Callable, args: tuple, kwargs: dict) -> None:
    """A function of its own, so that no argument outlives its job."""
    try:
        future.set_result(function(*args, **kwargs))
    except BaseException as error:  # whatever it is, it belongs to the caller
        future.set_exception(error)
