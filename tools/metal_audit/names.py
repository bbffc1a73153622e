"""The kernels that a `mlx.metallib` brings along: their names, as `strings` would show them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

# A function's entry in the file: a tag, the length of the name in two bytes, the name, a zero.
_TAG = b"NAME"
_NAME = re.compile(rb"[A-Za-z0-9_.]+")
_IN_WHEEL = "mlx/lib/mlx.metallib"


def of_metallib(path: Path) -> set[str]:
    """ValueError if the file holds none."""
    return _names(path.read_bytes(), path)


def of_wheel(path: Path) -> set[str]:
    """The same of a wheel of `mlx-metal`. ValueError if it is none."""
    try:
        with zipfile.ZipFile(path) as wheel:
            return _names(wheel.read(_IN_WHEEL), path)
    except (zipfile.BadZipFile, KeyError):
        raise ValueError(f"{path}: not a wheel of mlx-metal ({_IN_WHEEL} expected)") from None


def _names(data: bytes, path: Path) -> set[str]:
    names = set()
    at = data.find(_TAG)
    while at >= 0:
        start = at + len(_TAG) + 2
        length = int.from_bytes(data[start - 2 : start], "little")
        name, end = data[start : start + length - 1], data[start + length - 1 : start + length]
        if end == b"\0" and _NAME.fullmatch(name):
            names.add(name.decode())
        at = data.find(_TAG, at + 1)
    if not names:
        raise ValueError(f"{path}: not a Metal library (no names of kernels found)")
    return names
