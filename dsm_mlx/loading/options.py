"""How a model is to be loaded: checked in one place, before anything is read or downloaded."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from dsm_mlx.files.messages import shown
from dsm_mlx.loading.quantization import GROUP_SIZES
from dsm_mlx.runtime.device import on_cpu

DTYPES = {"float32": mx.float32, "bfloat16": mx.bfloat16, "float16": mx.float16}
_CACHES = (*DTYPES, "q8")


@dataclass(frozen=True)
class LoadOptions:
    """bits: 4 or 8 quantises a checkpoint that is not quantised yet.

    dtype: name of the type of activations and unquantised weights; None: what is fast on this
    device.
    cache: how keys and values are kept, the name of a dtype or "q8"; None: as `dtype`, or bfloat16
    if that is left open and the weights are quantised.
    codebooks: how many a text-to-speech model shall write; None: all that it can.

    Raises:
        TypeError, ValueError: a value that cannot be, whatever the model.
    """

    bits: int | None = None
    dtype: str | None = None
    cache: str | None = None
    codebooks: int | None = None

    def __post_init__(self):
        check_integer("bits", self.bits)
        check_integer("codebooks", self.codebooks)
        _check_name("dtype", self.dtype, tuple(DTYPES))
        _check_name("cache", self.cache, _CACHES)
        if self.bits not in (None, *GROUP_SIZES):
            wanted = " or ".join(map(str, GROUP_SIZES))
            raise ValueError(f"bits is {shown(self.bits)} (expected {wanted})")
        if self.codebooks is not None and self.codebooks < 1:
            raise ValueError(f"codebooks is {shown(self.codebooks)} (expected 1 or more)")


def check_integer(name: str, value: object) -> None:
    """TypeError unless `value` is an integer or None."""
    if value is not None and type(value) is not int:
        raise TypeError(f"{name} is {shown(value)} (expected an integer or None)")


def _check_name(name: str, value: object, known: tuple[str, ...]) -> None:
    if value is None:
        return
    expected = f"(expected one of {', '.join(known)})"
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)} {expected}")
    if value not in known:
        raise ValueError(f"{name} is {shown(value)} {expected}")


def dtype_of(name: str | None) -> mx.Dtype:
    """The dtype of activations that a name stands for; None: what is fast on this device."""
    if name is None:
        return mx.float32 if on_cpu() else mx.bfloat16
    return DTYPES[name]


def default_cache(dtype: str | None, quantized: bool) -> str | None:
    """How keys and values are kept: smaller where the user left it open and wants small weights."""
    return "bfloat16" if dtype is None and quantized else None
