"""What the machine itself can do, and how much of it we take."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.runtime.device import compiles
from dsm_mlx.runtime.machine import chip, device, memory, said, system, working_set

_BYTES = 1 << 28


def about() -> dict[str, str]:
    """What a reader of figures wants to know of this machine and of what runs on it."""
    most = working_set()
    known = {
        "chip": chip(),
        "memory": f"{memory() / 2**30:.0f} GB",
        "system": system(),
        "Python": platform.python_version(),
        "MLX": mx.__version__,
        "dsm_mlx": dsm_mlx.__version__ + _commit(),
        "device": device(),
        "steps are compiled": "yes" if compiles() else "no",
    }
    return known | ({"the GPU should use at most": f"{most / 2**30:.1f} GB"} if most else {})


def _commit() -> str:
    """Which commit of a checkout this is; empty where it is none."""
    at = "git", "-C", str(Path(__file__).parent)
    commit = said(*at, "rev-parse", "--short", "HEAD")
    if commit is None:
        return ""
    changed = said(*at, "status", "--porcelain", "--untracked-files=no")
    return f", commit {commit}{' and changes' if changed else ''}"


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
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as file:
        return int(file.readline().split()[1]) * os.sysconf("SC_PAGE_SIZE")
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
