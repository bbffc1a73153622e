"""The header of a safetensors file, checked before anything is read from it.

MLX trusts what a header says, so everything is checked here that the format demands: the bytes of
each tensor are those that its shape needs, and together they fill the file, without gap or overlap.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.descriptors import fill_standard
from dsm_mlx.messages import named, shown

_MOST_BYTES = 4_000_000  # of a header: twenty times what the largest such model has
_LONGEST_SIDE = 2**31 - 1  # what MLX can hold
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2}
_BYTES |= {"I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
FLOATS = ("F32", "BF16", "F16")


@contextmanager
def name_for_mlx(path: Path) -> Iterator[str]:
    """A name under which MLX, which takes UTF-8 only, can open the file while this lasts."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            yield f"/dev/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        yield name


@dataclass(frozen=True)
class TensorInfo:
    """shape, and dtype as the format names it ("F32", "BF16", "U32", …)."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Its bytes in the file."""
        return math.prod(self.shape) * _BYTES[self.dtype]


@dataclass(frozen=True)
class Header:
    """What a file holds: tensor name -> info, and the free-form metadata."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor name -> shape."""
        return {name: info.shape for name, info in self.tensors.items()}


def read_header(path: Path) -> Header:
    """Parse and check the header. CheckpointError if the file is not whole or not as it says."""
    fill_standard()  # this file comes before all that MLX opens
    source = named(path)
    raw, size = _read(path, source)
    metadata = raw.pop("__metadata__", None) or {}  # MLX writes null
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _malformed(source, "its metadata are not strings")
    tensors, extents = {}, []
    for name, entry in raw.items():
        tensors[name], extent = _read_entry(source, name, entry)
        extents.append((*extent, name))
    _check_cover(source, sorted(extents), size)
    return Header(tensors, metadata)


def _read(path: Path, source: str) -> tuple[dict, int]:
    """The header's object, and how many bytes follow it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= _MOST_BYTES:
                raise CheckpointError(f"{source}: not a safetensors file, or one without a header")
            if length > size - 8:
                raise CheckpointError(f"{source}: cut short inside its header")
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(f"{source}: cannot be read ({error.strerror})") from None
    try:
        raw = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{source}: not a safetensors file") from None
    if not isinstance(raw, dict):
        raise _malformed(source, "it is not an object")
    return raw, size - 8 - length


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object whose keys are all different: readers would not agree which of two counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _read_entry(source: str, name: str, entry: object) -> tuple[TensorInfo, tuple[int, int]]:
    """One tensor's info, and where its bytes begin and end."""
    if not isinstance(entry, dict):
        raise _malformed(source, f"{shown(name)} is no object")
    shape, dtype, extent = (entry.get(key) for key in ("shape", "dtype", "data_offsets"))
    if not _are_counts(shape) or max(shape, default=0) > _LONGEST_SIDE:
        raise _malformed(source, f"{shown(name)} has the shape {shown(shape)}")
    if not _are_counts(extent) or len(extent) != 2:
        raise _malformed(source, f"{shown(name)} has the offsets {shown(extent)}")
    if not isinstance(dtype, str) or dtype not in _BYTES:
        raise CheckpointError(
            f"{source}: {shown(name)} is of type {shown(dtype)}, which is not supported"
        )
    start, end = extent
    needed = math.prod(shape) * _BYTES[dtype]
    if end - start != needed:
        raise CheckpointError(
            f"{source}: {shown(name)} has {end - start} bytes (expected {shown(needed)}: {dtype} "
            f"{shown(shape)})"
        )
    return TensorInfo(tuple(shape), dtype), (start, end)


def _are_counts(values: object) -> TypeGuard[list[int]]:
    """Whether these are integers from 0 up."""
    return isinstance(values, list) and all(type(v) is int and v >= 0 for v in values)


def _check_cover(source: str, extents: list[tuple[int, int, str]], size: int) -> None:
    """The tensors, in their order, must fill the `size` bytes after the header."""
    end = 0
    for start, stop, name in extents:
        if start != end:
            fault = "overlaps the tensor before it" if start < end else "does not follow on another"
            raise _malformed(source, f"{shown(name)} {fault}: it begins at {start}, not at {end}")
        end = stop
    if size < end:
        raise CheckpointError(f"{source}: cut short: {size} bytes of tensors, expected {end}")
    if size > end:
        raise CheckpointError(f"{source}: has {size - end} bytes that belong to no tensor")


def _malformed(source: str, fault: str) -> CheckpointError:
    return CheckpointError(f"{source}: not a safetensors file: its header is malformed ({fault})")
