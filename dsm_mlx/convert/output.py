"""Writing files: tensors one after another, and copies."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import struct
from pathlib import Path

import mlx.core as mx
from tqdm import tqdm

from dsm_mlx.errors import CheckpointError
from dsm_mlx.messages import cut

_DTYPES = {
    mx.float32: "F32",
    mx.float16: "F16",
    mx.bfloat16: "BF16",
    mx.uint32: "U32",
    mx.uint8: "U8",
}
_SPARE = 1 << 20  # what a folder needs beside its tensors


def check_space(folder: Path, needed: int) -> None:
    """OSError if the disk of `folder` cannot take `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise OSError(errno.ENOSPC, f"needs {needed} bytes, {free} are free")


def write_safetensors(path: Path, tensors: dict[str, mx.array], metadata: dict[str, str]) -> str:
    """Write lazy arrays in their order, emptying `tensors`; returns the file's sha256.

    Only one array at a time, and what it is computed from, need be in memory. A progress bar
    goes to stderr if that is a terminal.

    Raises:
        CheckpointError: a value that is not finite, as those are that float16 cannot hold.
        OSError: the file cannot be written.
    """
    header: dict[str, dict] = {"__metadata__": metadata}
    end = 0
    for name, array in tensors.items():
        start, end = end, end + array.nbytes
        kind = {"dtype": _DTYPES[array.dtype], "shape": list(array.shape)}
        header[name] = {**kind, "data_offsets": [start, end]}
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    check_space(path.parent, end + len(raw))
    digest = hashlib.sha256()
    bar = tqdm(total=end, desc=path.name, unit="B", unit_scale=True, disable=None, leave=False)
    with path.open("xb") as file, bar:
        for part in (struct.pack("<Q", len(raw)), raw):
            file.write(part)
            digest.update(part)
        for name in list(tensors):
            data = _bytes(name, tensors.pop(name))
            file.write(data)
            digest.update(data)
            bar.update(len(data))
            del data
            mx.clear_cache()
    return digest.hexdigest()


def _bytes(name: str, array: mx.array) -> memoryview:
    if mx.issubdtype(array.dtype, mx.floating) and not mx.isfinite(array).all().item():
        small = ", or that float16 cannot hold (try bfloat16)" if array.dtype == mx.float16 else ""
        raise CheckpointError(f"{cut(name, 80)}: has values that are not finite{small}")
    flat = mx.contiguous(array).reshape(-1).view(mx.uint8)
    return memoryview(flat)  # type: ignore[arg-type]  # a buffer, of which MLX's types say nothing


def write(data: bytes, target: Path) -> str:
    """Write a small file; returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


def copy(source: Path, target: Path) -> str:
    """Copy a file as it is; returns its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    check_space(target.parent, source.stat().st_size)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("xb") as write:
        while block := read.read(1 << 20):
            write.write(block)
            digest.update(block)
    return digest.hexdigest()
