"""What the machine itself can do, and how much of it we take."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.runtime.device import compiles, device_info

_BYTES = 1 << 28


def name() -> str:
    device = mx.default_device()
    if device.type == mx.DeviceType.gpu:
        return mx.device_info().get("device_name", "GPU")
    return f"CPU, {platform.machine()}"


def about() -> dict[str, str]:
    """What a reader of figures wants to know of this machine and of what runs on it."""
    most = device_info().get("max_recommended_working_set_size")
    known = {
        "chip": _chip(),
        "memory": f"{_memory() / 2**30:.0f} GB",
        "system": f"macOS {platform.mac_ver()[0]}"
        if platform.mac_ver()[0]
        else platform.platform(),
        "Python": platform.python_version(),
        "MLX": mx.__version__,
        "dsm_mlx": dsm_mlx.__version__ + _commit(),
        "device": name(),
        "steps are compiled": "yes" if compiles() else "no",
    }
    return known | ({"the GPU should use at most": f"{most / 2**30:.1f} GB"} if most else {})


def _chip() -> str:
    """Its name, and how many cores it has."""
    if sys.platform == "darwin":
        found = _said("sysctl", "-n", "machdep.cpu.brand_string")
    else:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
        found = names[0] if names else None
    return f"{found or platform.machine()}, {os.cpu_count()} cores"


def _memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _commit() -> str:
    """Which commit of a checkout this is; empty where it is none."""
    at = "git", "-C", str(Path(__file__).parent)
    commit = _said(*at, "rev-parse", "--short", "HEAD")
    if commit is None:
        return ""
    changed = _said(*at, "status", "--porcelain", "--untracked-files=no")
    return f", commit {commit}{' and changes' if changed else ''}"


def _said(*command: str) -> str | None:
    """What a command prints; None where there is no such command, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


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
