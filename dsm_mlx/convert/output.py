"""Writing: a folder that appears whole or not at all, and tensors one after another."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlx.core as mx
from tqdm import tqdm

from dsm_mlx.errors import CheckpointError

_DTYPES = {
    mx.float32: "F32",
    mx.float16: "F16",
    mx.bfloat16: "BF16",
    mx.uint32: "U32",
    mx.uint8: "U8",
    mx.int32: "I32",
    mx.int64: "I64",
}
_SPARE = 1 << 20  # what a folder needs beside its tensors


@contextmanager
def new_folder(path: Path, overwrite: bool) -> Iterator[Path]:
    """A folder to write to that takes the name `path` when the block ends well.

    Whatever ends the block otherwise, an error or Ctrl-C, nothing of it is left and what was at
    `path` is untouched.

    Raises:
        FileExistsError: `path` exists and `overwrite` is False, or it is not a checkpoint's.
        OSError: it cannot be written; a full disk is told apart.
    """
    _check_replaceable(path, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    draft.chmod(0o755)
    try:
        yield draft
        _put_in_place(draft, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(f"{path}: the disk is full; nothing was written") from None
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check_replaceable(path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise FileExistsError(f"{path}: exists already (give another folder, or --overwrite)")
    files = {entry.name for entry in path.iterdir()} if path.is_dir() else {"not a folder"}
    if files and not files & {"config.json", "mimi_config.json"}:
        raise FileExistsError(f"{path}: is not the folder of a checkpoint, so it is not replaced")


def _put_in_place(draft: Path, path: Path) -> None:
    for file in draft.rglob("*"):
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
    if not os.path.lexists(path):
        draft.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".old", dir=path.parent))
    path.rename(old / "old")
    try:
        draft.rename(path)
    except OSError:
        (old / "old").rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


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
        CheckpointError: a value that became infinite in float16, or was not a number before.
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
    if array.dtype == mx.float16 and not mx.isfinite(array).all().item():
        raise CheckpointError(f"{name}: has values that float16 cannot hold (try bfloat16)")
    return memoryview(mx.contiguous(array).reshape(-1).view(mx.uint8))


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
