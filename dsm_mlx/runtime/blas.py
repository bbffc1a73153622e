"""The BLAS that MLX computes with on the CPU of a Linux machine.

MLX's wheel has netlib's reference BLAS in it, which is many times slower than the machine. The
linker prefers a library that a process has loaded for all (RTLD_GLOBAL) before `mlx.core`: so the
system's OpenBLAS takes its place, where there is one.

DSM_MLX_BLAS=0 in the environment leaves MLX its own; a path, or a name that the linker finds, takes
that library instead. One that is preloaded (LD_PRELOAD) is left in its place. On a Mac MLX computes
with the system's own, and nothing is done.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dsm_mlx.messages import named, reason

if TYPE_CHECKING:
    from ctypes import CDLL

_VARIABLE = "DSM_MLX_BLAS"
_OPENBLAS = "libopenblas.so.0"  # as Debian and Fedora call it
# Builds with OpenMP read only the last of them.
_THREADS = ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_KERNELS = "OPENBLAS_CORETYPE"
_OWN = "MLX's own"
_PRELOADED = "one that was preloaded"

_name = _OWN
_library: str | None = None


def name() -> str:
    """What MLX computes matrix products with, for people."""
    return _name


def library() -> str | None:
    """The path or name of the library that was loaded in place of MLX's own."""
    return _library


def settings() -> dict[str, str]:
    """What OpenBLAS is told by its environment while it is loaded, where the user has said nothing.

    One thread: with two, which look out for work between products, a frame of Mimi took more CPU
    time and was not seen to be done earlier. The kernels of Haswell where the processor can run
    them: releases older than the processor do not know it and fall back to those of 2004, and with
    weights as (in, out) and 1 to 16 rows they are ahead of the ones for AVX-512, too.
    """
    told: dict[str, str] = {}
    if not any(os.environ.get(variable) for variable in _THREADS):
        told |= dict.fromkeys(_THREADS, "1")
    if not os.environ.get(_KERNELS) and {"avx2", "fma"} <= _processor_flags():
        told[_KERNELS] = "Haswell"
    return told


def load_before_mlx() -> None:
    """Have the library loaded right before `mlx.core` is, whoever imports it.

    Where that is imported already it is too late, which the log tells.
    """
    if sys.platform != "linux" or os.environ.get(_VARIABLE) == "0":
        return
    if "mlx.core" in sys.modules:
        import logging

        message = "mlx.core was imported before dsm_mlx and keeps its own BLAS"
        logging.getLogger("dsm_mlx").debug(message)
    else:
        sys.meta_path.insert(0, _BeforeMlx())


class _BeforeMlx:
    """Stands first among those that are asked where a module is; it knows of none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "mlx.core":
            _load(os.environ.get(_VARIABLE, ""))
            with suppress(ValueError):  # two threads may look for a module at once
                sys.meta_path.remove(self)


def _load(wanted: str) -> None:
    """wanted: a path, or "" for the system's OpenBLAS if there is one."""
    import ctypes

    global _name, _library
    if hasattr(ctypes.CDLL(None), "cblas_sgemm"):
        _name = _PRELOADED
        return
    path = wanted or _OPENBLAS
    try:
        with _environment(settings()):
            found = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        if wanted:
            raise _unfit(wanted, reason(error)) from None
        return
    if not hasattr(found, "cblas_sgemm"):
        raise _unfit(path, "it has no cblas_sgemm")
    _name, _library = _described(found, path), path


def _unfit(path: str, why: str) -> ValueError:
    return ValueError(f"{_VARIABLE} is {named(path)} (expected 0 or the path of a BLAS): {why}")


def _described(found: CDLL, path: str) -> str:
    """Such as "OpenBLAS 0.3.21, Haswell, threads: 1", or a path where a library tells nothing."""
    import ctypes

    try:
        config, kernels = found.openblas_get_config, found.openblas_get_corename
        config.restype = kernels.restype = ctypes.c_char_p
        version = " ".join(config().decode().split()[:2])
        return f"{version}, {kernels().decode()}, threads: {found.openblas_get_num_threads()}"
    except AttributeError:
        return path


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables that are not set, set for a moment."""
    os.environ.update(values)
    try:
        yield
    finally:
        for variable in values:
            del os.environ[variable]


def _processor_flags() -> set[str]:
    """What the first processor can do, as Linux calls it; empty where that is not told."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return next((set(line.split()) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()
