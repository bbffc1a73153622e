"""What the machine itself can do, and how much of it we take."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time

import mlx.core as mx
import numpy as np

_BYTES = 1 << 28


def name() -> str:
    device = mx.default_device()
    if device.type == mx.DeviceType.gpu:
        return mx.device_info().get("device_name", "GPU")
    return f"CPU, {platform.machine()}"


def bandwidth() -> float:
    """Bytes a second that the memory gives and takes: the best of ten copies of 256 MB."""
    if mx.default_device().type == mx.DeviceType.cpu:
        source, target = np.ones(_BYTES, np.uint8), np.empty(_BYTES, np.uint8)
        seconds = [_seconds(lambda: np.copyto(target, source)) for _ in range(10)]
    else:
        source = mx.ones(_BYTES // 4)
        seconds = [_seconds(lambda: mx.eval(source + 1)) for _ in range(10)]
    return 2 * _BYTES / min(seconds)


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resident() -> int:
    """Bytes of this process that are in memory now. A GPU's memory is not among them."""
    shown = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    )
    return int(shown.stdout) * 1024


def busy_seconds() -> float | None:
    """Seconds that all cores together have worked for other processes than this one; None where
    the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            ticks = [int(value) for value in file.readline().split()[1:]]
    except OSError:
        return None
    # user, nice, system and, after idle and waiting for disks, interrupts and stolen time
    return sum(ticks[:3] + ticks[5:8]) / os.sysconf("SC_CLK_TCK") - time.process_time()


def import_seconds() -> float:
    """`import dsm_mlx` in a new process, the best of three."""
    code = "import time; t = time.perf_counter(); import dsm_mlx; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    return min(float(run.stdout) for run in runs)
