"""Writing sound while it is being made: a WAV file, or raw samples for a pipe."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

import numpy as np

from dsm_mlx.errors import AudioError

HEADER_BYTES = 44
MAX_SIZE = 0xFFFFFFFF


def to_s16le(pcm: np.ndarray) -> bytes:
    """float32 (samples,) to signed 16-bit little-endian bytes; clipped to -1..1.

    For a pipe: `stdout.buffer.write(to_s16le(chunk))`. Raises `AudioError` for NaN or infinity.
    """
    pcm = np.asarray(pcm, np.float32)
    if not np.isfinite(pcm).all():
        raise AudioError("the sound to write holds NaN or infinity")
    return np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2").tobytes()


class WavWriter:
    """A mono 16-bit WAV file that is complete after every `write`.

    `target` is a path or a binary stream. The sizes in the header follow every write, so a file
    whose writer is interrupted or killed still plays; a stream that cannot seek (a pipe) gets the
    largest size, which players read as "until the end".
    Raises `AudioError` where the file cannot be written. A reader that closes a pipe gives
    `BrokenPipeError`, for the caller to handle.
    """

    def __init__(self, target: str | os.PathLike | BinaryIO, sample_rate: int = 24_000) -> None:
        self.sample_rate = sample_rate
        self.samples = 0
        self._owned = isinstance(target, (str, os.PathLike))
        self._name = os.fspath(target) if self._owned else getattr(target, "name", "stream")
        try:
            self._stream = open(target, "wb") if self._owned else target  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from None
        self._start = self._stream.tell() if self._stream.seekable() else None
        self._save(self._header(MAX_SIZE if self._start is None else 0))

    def write(self, pcm: np.ndarray) -> None:
        """Append float32 (samples,), values between -1 and 1."""
        data = to_s16le(pcm)
        self.samples += len(data) // 2
        self._save(data)

    def close(self) -> None:
        """Close the file; a stream that was given stays open."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _save(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            if self._start is not None:
                end = self._stream.tell()
                self._stream.seek(self._start)
                self._stream.write(self._header(2 * self.samples))
                self._stream.seek(end)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> AudioError:
        return AudioError(f"{self._name}: cannot be written: {error.strerror}")

    def _header(self, size: int) -> bytes:
        rate = self.sample_rate
        riff_size, size = min(size + HEADER_BYTES - 8, MAX_SIZE), min(size, MAX_SIZE)
        form = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
        layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        return form + layout + struct.pack("<4sI", b"data", size)
