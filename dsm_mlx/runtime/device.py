"""What suits the device that computes: whether to compile, how much memory to keep."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import mlx.core as mx
import numpy as np


def on_cpu() -> bool:
    """Whether MLX computes on the processor, and not on a GPU."""
    return mx.default_device().type == mx.DeviceType.cpu


def compiled(step: Callable) -> Callable:
    """A step, compiled where that pays: on a GPU, where it fuses kernels and spares launches.

    On the CPU a step gains a tenth of its time, but MLX calls g++ for every kernel that a machine
    has not seen since it started, which keeps a first stream waiting for up to half a minute.
    DSM_MLX_COMPILE=1 in the environment compiles there, too; 0 never compiles.
    """
    return mx.compile(step) if compiles() else step


def start_early(array: mx.array) -> None:
    """Compute `array` while the rest of a step that is not compiled is still being put together.

    Not for what comes after a write into a ring: the step's caller still holds the old ring then,
    and the write would have to copy it.
    """
    if not compiles():
        mx.async_eval(array)


def settle(arrays: Any) -> None:
    """On a CPU, wait for what a turn has begun, so that turns last as long as their work and a live
    frame gets in between. A GPU's queue shall not run dry: there a frame is read once, at its end.
    """
    if on_cpu():
        mx.eval(arrays)


def read(*arrays: mx.array) -> list[np.ndarray]:
    """Wait for arrays and copy them to the host: where a frame leaves the device."""
    mx.eval(arrays)
    return [np.array(array) for array in arrays]


def together(columns: list[mx.array]) -> mx.array:
    """Columns (..., ) of numbers -> (..., columns).

    A stack copies each column with a kernel of its own. In a compiled step sixteen columns become
    one kernel, which chooses where each stands.
    """
    if not compiles():
        return mx.stack(columns, axis=-1)
    places = range(len(columns))
    halves = [1 << bit for bit in range((len(columns) - 1).bit_length())]
    is_right = {half: mx.array([bool(place & half) for place in places]) for half in halves}

    def choose(left: mx.array, right: mx.array, half: int) -> mx.array:
        return mx.where(is_right[half], right, left)

    return _tree([column[..., None] for column in columns], choose)


def total(arrays: list[mx.array]) -> mx.array:
    """The sum of arrays of a shape, in a compiled step a kernel for some twenty of them."""
    return _tree(arrays, lambda left, right, _: left + right)


def _tree(arrays: list[mx.array], join: Callable[[mx.array, mx.array, int], mx.array]) -> mx.array:
    """Pairs joined, then pairs of pairs: MLX fuses at most 24 arrays, and nothing deeper than 11.
    `join` is told how many there are on its left, a power of two."""
    if len(arrays) == 1:
        return arrays[0]
    half = 1 << (len(arrays) - 1).bit_length() - 1
    return join(_tree(arrays[:half], join), _tree(arrays[half:], join), half)


def compiles() -> bool:
    """Whether steps are compiled, which is where the number of kernels counts."""
    wanted = os.environ.get("DSM_MLX_COMPILE")
    return wanted == "1" if wanted in ("0", "1") else not on_cpu()


def free_memory() -> int:
    """Bytes that the machine could still give to arrays, as far as that can be told."""
    if mx.metal.is_available():
        most = device_info()["max_recommended_working_set_size"]
        return max(0, most - mx.get_active_memory())
    with suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as told:
        # With what the system keeps of files only as long as nobody needs the memory.
        return 1024 * int(next(line for line in told if line.startswith("MemAvailable")).split()[1])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def device_info() -> dict:
    """What MLX knows of the device."""
    return getattr(mx, "device_info", mx.metal.device_info)()


_limited = False


def limit_memory(cache: int = 256 << 20, wired: int | None = None) -> None:
    """Bound what MLX keeps beside the arrays in use; see `dsm_mlx.limit_memory`."""
    global _limited
    _limited = True
    mx.set_cache_limit(cache)
    if mx.metal.is_available():
        most = device_info()["max_recommended_working_set_size"]
        mx.set_wired_limit(most if wired is None else wired)


def limit_memory_once() -> None:
    """Take the defaults, unless the program has said what it wants or MLX's own do (32 MB)."""
    if not _limited and not on_cpu():
        limit_memory()
