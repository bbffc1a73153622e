"""One thread owns all arrays; any thread may call.

MLX binds lazy arrays and random state to the thread that made them, and Metal command buffers do
not like company. So models are loaded and stepped on one thread of ours, and callers wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_start = threading.Lock()
_executor: ThreadPoolExecutor | None = None
_owner: threading.Thread | None = None


def _remember() -> None:
    global _owner
    _owner = threading.current_thread()


def run(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call `function` on the owner thread and wait for what it returns or raises.

    Jobs run one at a time in the order they come; keep each short (a frame or a few), so that
    sessions share the device fairly and Ctrl-C is heard.
    """
    global _executor
    if threading.current_thread() is _owner:
        return function(*args, **kwargs)
    with _start:
        if _executor is None:
            _executor = ThreadPoolExecutor(1, "dsm_mlx owner", initializer=_remember)
    return _executor.submit(function, *args, **kwargs).result()
