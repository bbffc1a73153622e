"""What machine this is, and what MLX computes with on it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def chip() -> str:
    """The processor's name, and how many cores it has."""
    if sys.platform == "darwin":
        found = said("sysctl", "-n", "machdep.cpu.brand_string")
    else:
        found = _first_of_cpuinfo("model name")
    return f"{found or platform.machine()}, {os.cpu_count()} cores"


def _first_of_cpuinfo(key: str) -> str | None:
    """The value of the first line that begins with `key`; None on processors that have none."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return None


def memory() -> int:
    """Bytes that the machine has in all."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def system() -> str:
    """The operating system and its version."""
    macos = platform.mac_ver()[0]
    return f"macOS {macos}" if macos else platform.platform()


def mlx_version() -> str:
    """MLX's version. ImportError where it cannot be loaded."""
    import mlx.core as mx

    return mx.__version__  # type: ignore[attr-defined]  # which MLX's types do not have


def device() -> str:
    """What MLX computes on. ImportError where MLX cannot be loaded."""
    from dsm_mlx.runtime.device import device_info, on_cpu

    if on_cpu():
        return f"CPU, {platform.machine()}"
    return str(device_info().get("device_name", "GPU"))


def working_set() -> int | None:
    """Bytes that the GPU should use at most; None where MLX does not tell, as on a CPU."""
    from dsm_mlx.runtime.device import device_info

    return device_info().get("max_recommended_working_set_size")


def said(*command: str) -> str | None:
    """What a command prints; None where there is no such command, or it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
