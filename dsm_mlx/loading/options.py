"""How a model is to be loaded: checked in one place, before anything is read or downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from dsm_mlx.checks import check_whole
from dsm_mlx.loading.quantization import GROUP_SIZES
from dsm_mlx.messages import shown
from dsm_mlx.runtime.device import on_cpu

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}


@dataclass(frozen=True)
class LoadOptions:
    """bits: 4 or 8 quantises a checkpoint that is not quantised yet.

    dtype: name of the type of activations and unquantised weights; None: what is fast on this
    device.
    cache: how keys and values are kept, the name of a dtype or "q8"; None: as `dtype`, or bfloat16
    if that is left open and the weights are quantised.
    codebooks: how many a text-to-speech model shall write, or a speech-to-text model hear; None:
    all that it can.

    Raises:
        TypeError, ValueError: a value that cannot be, whatever the model.
    """

    bits: int | None = None
    dtype: str | None = None
    cache: str | None = None
    codebooks: int | None = None

    def __post_init__(self):
        _check_choice("bits", self.bits, tuple(GROUP_SIZES))
        _check_choice("dtype", self.dtype, tuple(DTYPES))
        _check_choice("cache", self.cache, (*DTYPES, "q8"))
        if self.codebooks is not None:
            check_whole("codebooks", self.codebooks, 1)


def _check_choice(name: str, value: object, known: tuple[int, ...] | tuple[str, ...]) -> None:
    """TypeError or ValueError unless `value` is None or one of those that are `known`."""
    if value is None:
        return
    listed = ", ".join(map(str, known[:-1]))
    message = f"{name} is {shown(value)} (expected {listed} or {known[-1]})"
    if type(value) is not type(known[0]):
        raise TypeError(message)
    if value not in known:
        raise ValueError(message)


def dtype_of(name: str | None) -> mx.Dtype:
    """The dtype of activations that a name stands for; None: what is fast on this device."""
    if name is None:
        return mx.float32 if on_cpu() else mx.bfloat16
    return DTYPES[name]


def default_cache(dtype: str | None, quantized: bool) -> str | None:
    """How keys and values are kept: smaller where the user left it open and wants small weights."""
    return "bfloat16" if dtype is None and quantized else None
