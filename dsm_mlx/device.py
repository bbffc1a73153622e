"""What suits the device that computes: whether to compile, how much memory to keep."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx


def on_cpu() -> bool:
    return mx.default_device().type == mx.DeviceType.cpu


def compiled(step: Callable) -> Callable:
    """A step, compiled where that pays: on a GPU.

    There it fuses kernels and spares launches. On the CPU MLX calls g++ for every kernel that a
    machine has not seen yet, which keeps a first stream waiting for half a minute, and a step
    then gains an eighth of its time (docs/performance.md).
    """
    return step if on_cpu() else mx.compile(step)
