"""The header of a safetensors file, checked before anything is read from it."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from dsm_mlx.errors import CheckpointError

_MAX_HEADER = 100_000_000
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2}
_BYTES |= {"I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}


@dataclass(frozen=True)
class TensorInfo:
    """shape, and dtype as the format names it ("F32", "BF16", "U32", …)."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Header:
    """What a file holds: tensor name -> info, and the free-form metadata."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: info.shape for name, info in self.tensors.items()}


def read_header(path: Path) -> Header:
    """Parse and check the header. CheckpointError if the file is not whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            if length > min(size - 8, _MAX_HEADER):
                raise CheckpointError(
                    f"{path}: not a safetensors file, or cut short inside its header"
                )
            raw = json.loads(file.read(length))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except (struct.error, ValueError, RecursionError):
        raise CheckpointError(f"{path}: not a safetensors file") from None
    try:
        metadata = raw.pop("__metadata__", None) or {}  # MLX writes null
        tensors = {name: TensorInfo(tuple(t["shape"]), t["dtype"]) for name, t in raw.items()}
        needed = 8 + length + max((t["data_offsets"][1] for t in raw.values()), default=0)
        for name, info in tensors.items():
            _check_extent(path, name, info, *raw[name]["data_offsets"])
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise CheckpointError(f"{path}: not a safetensors file (its header is malformed)") from None
    if size < needed:
        raise CheckpointError(f"{path}: cut short: {size} bytes, expected {needed}")
    return Header(tensors, metadata)


def _check_extent(path: Path, name: str, info: TensorInfo, start: int, end: int) -> None:
    """A tensor must have the bytes that its shape needs: readers trust the shape."""
    if info.dtype not in _BYTES:
        raise CheckpointError(f"{path}: {name} is of type {info.dtype}, which is not supported")
    needed = math.prod(info.shape) * _BYTES[info.dtype]
    if min(info.shape, default=0) < 0 or start < 0 or end - start != needed:
        shape = list(info.shape)
        raise CheckpointError(
            f"{path}: {name} has {end - start} bytes (expected {needed}: {info.dtype} {shape})"
        )
