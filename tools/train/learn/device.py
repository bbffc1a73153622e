"""Where to compute, and how precisely."""

from __future__ import annotations

import contextlib
import ctypes
import sys

import torch
from torch import nn

from learn.attention import InBlocks

_TRIM_THRESHOLD, _MOST_MAPPED = -1, -4  # names of mallopt's settings in glibc's malloc.h


def best() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def keep_freed_memory() -> None:
    """Let glibc keep what tensors on a CPU free.

    It would give large ones back to the system each time, and half of a step's time would go into
    clearing the pages of the next.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_MOST_MAPPED, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextlib.contextmanager
def autocast(device: str):
    """bfloat16 where it is safe by itself; on a CPU attention in blocks, which is faster there.

    A CPU without AVX512 computes bfloat16 many times slower than float32.
    """
    kind = torch.device(device).type
    fast = kind != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    attention = InBlocks() if kind == "cpu" else contextlib.nullcontext()
    with torch.autocast(kind, torch.bfloat16, enabled=fast), attention:
        yield


def keep_float32(module: nn.Module) -> None:
    """Let one module compute in float32 under autocast.

    torch 2.13 on CPUs with AMX gets two convolutions of the codec wrong in bfloat16, by as much
    as their size: Conv1d 16 -> 32, kernel 8, stride 4, and the input gradient of
    ConvTranspose1d 32 -> 16 of the same shape. They are at the edge of the network and cheap.
    """
    inner = module.forward

    def forward(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return inner(x.float())

    module.forward = forward
