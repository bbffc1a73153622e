"""Sound files that are damaged, raw bytes, and arrays of any kind."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np

from dsm_mlx.audio import ENCODINGS, RawFormat, Sound
from fuzzing.mutations import array, spoilt, value


class _Pipe(io.RawIOBase):
    """Bytes that come in pieces and cannot be gone back in."""

    def __init__(self, data: bytes, rng: random.Random):
        self._rest, self._rng = data, rng

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._rng.choice((1, 7, 100, 4096, 65_536)), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def attempt(rng: random.Random, corpus: Path, folder: Path) -> None:
    """Read it all; what comes is sound."""
    source, options = _made(rng, corpus, folder)
    with Sound(source, **options) as sound:
        for block in sound.blocks():
            good = block.dtype == np.float32 and block.ndim == 1 and np.isfinite(block).all()
            if not good:
                raise RuntimeError(f"a block of {block.dtype} {block.shape} that is no sound")


def _made(rng: random.Random, corpus: Path, folder: Path) -> tuple[Any, dict[str, Any]]:
    if rng.random() < 0.2:
        rate = rng.choice((8000, 24_000, 44_100, 22_050.5, 384_000))
        return array(rng), {"sample_rate": value(rng) if rng.random() < 0.2 else rate}
    options: dict[str, Any] = {}
    if rng.random() < 0.2:
        data = rng.randbytes(rng.choice((0, 1, 3, 999, 20_000)))
        raw = RawFormat(
            rng.choice(list(ENCODINGS)), rng.choice((8000, 48_000)), rng.choice((1, 2, 3))
        )
        options[rng.choice(("raw", "assumed"))] = raw
    else:
        data = rng.choice(sorted((corpus / "sounds").iterdir())).read_bytes()
        if rng.random() < 0.95:
            data = spoilt(data, rng)
    how = rng.randrange(4)
    if how == 0:
        path = folder / rng.choice(("x.wav", "x.mp3", "x", "x.m4a", "x\n.flac", "ü%s'.ogg"))
        path.write_bytes(data)
        return path, options
    if how == 1:
        return data, options
    return (io.BytesIO(data) if how == 2 else _Pipe(data, rng)), options
