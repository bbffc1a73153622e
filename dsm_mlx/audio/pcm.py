"""Uncompressed sound that arrives through a pipe: WAV of unknown length, or raw samples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np

from dsm_mlx.audio.resample import mix, resampled
from dsm_mlx.errors import AudioError

READ_BYTES = 1 << 16
# Programs that write WAV to a pipe cannot know its size and leave 0, 0xFFFFFFFF or about 2 GiB.
UNKNOWN_SIZE = 0x7FFFF000
# Files that are not samples would be heard as noise: ogg, flac, mp3 with tags, aiff.
OTHER_FORMATS = (b"OggS", b"fLaC", b"ID3\x03", b"ID3\x04", b"FORM")
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
ENCODINGS = {
    (PCM, 8): "u1",
    (PCM, 16): "i2",
    (PCM, 24): "i3",
    (PCM, 32): "i4",
    (FLOAT, 32): "f4",
    (FLOAT, 64): "f8",
}


class PcmStream:
    """Sound read from a binary stream as it arrives.

    A stream that begins with a RIFF/WAVE header is read as that header says (8, 16, 24 or 32 bit
    integers, 32 or 64 bit floats, any rate and channel count); anything else is taken as raw
    signed 16-bit little-endian mono at 24 kHz. Iterating yields float32 (samples,) at `.rate` Hz,
    down-mixed to mono; an incomplete sample at the end is dropped.
    Raises `AudioError` for a header that is damaged or describes compressed sound.
    """

    def __init__(self, stream: BinaryIO, name: str = "stdin") -> None:
        # read1 gives what is there; read would wait until the block is full
        self._read: Callable[[int], bytes] = getattr(stream, "read1", stream.read)
        self._name = name
        self._head = self._exactly(4)
        self._remaining: int | None = None
        self.rate, self._channels, self._encoding = 24_000, 1, "i2"
        self.has_header = self._head in (b"RIFF", b"RF64")
        if self.has_header:
            self._read_header()
        elif self._head in OTHER_FORMATS:
            raise AudioError(
                f"{name}: expected WAV or raw PCM, not a compressed file; give its path instead"
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        width = int(self._encoding[1]) * self._channels
        data = self._head
        while True:
            more = self._take()
            data += more
            whole = len(data) - len(data) % width
            if whole:
                yield mix(_to_float(data[:whole], self._encoding).reshape(-1, self._channels))
            if not more:
                return
            data = data[whole:]

    def _take(self) -> bytes:
        """What has arrived of the samples; empty at their end."""
        if self._remaining is None:
            return self._read(READ_BYTES)
        more = self._read(min(READ_BYTES, self._remaining)) if self._remaining else b""
        self._remaining -= len(more)
        return more

    def _exactly(self, size: int) -> bytes:
        """The next `size` bytes, or fewer where the stream ends."""
        data = b""
        while len(data) < size and (more := self._read(min(READ_BYTES, size - len(data)))):
            data += more
        return data

    def _read_header(self) -> None:
        """Read up to the first sample and set the format."""
        self._head = b""
        if self._exactly(8)[4:] != b"WAVE":
            raise AudioError(f"{self._name}: a RIFF stream that is not WAVE")
        found = False
        while len(chunk := self._exactly(8)) == 8:
            kind, size = struct.unpack("<4sI", chunk)
            if kind == b"data" and found:
                self._remaining = None if size == 0 or size >= UNKNOWN_SIZE else size
                return
            body = self._exactly(size + size % 2)
            if kind == b"fmt ":
                self._set_format(body)
                found = True
        raise AudioError(f"{self._name}: the WAV header ends before the sound begins")

    def _set_format(self, body: bytes) -> None:
        if len(body) < 16:
            raise AudioError(f"{self._name}: the WAV header is damaged")
        tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", body[:16])
        if tag == EXTENSIBLE and len(body) >= 26:
            tag = struct.unpack("<H", body[24:26])[0]
        encoding = ENCODINGS.get((tag, bits))
        if encoding is None or channels == 0:
            raise AudioError(
                f"{self._name}: WAV format {tag}, {bits} bits, {channels} channels: "
                "expected PCM of 8, 16, 24 or 32 bits or float of 32 or 64"
            )
        self.rate, self._channels, self._encoding = rate, channels, encoding


def _to_float(data: bytes, encoding: str) -> np.ndarray:
    """Little-endian samples to float32 between -1 and 1."""
    if encoding == "u1":
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / 128
    if encoding == "i3":
        # three bytes become the upper three of an int32
        samples = np.zeros((len(data) // 3, 4), np.uint8)
        samples[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        data, encoding = samples.tobytes(), "i4"
    samples = np.frombuffer(data, "<" + encoding)
    if samples.dtype.kind == "f":
        return samples.astype(np.float32)
    return from_integers(samples)


def from_integers(samples: np.ndarray) -> np.ndarray:
    """Signed integers of any width to float32 between -1 and 1."""
    return samples.astype(np.float32) / np.float32(2 ** (8 * samples.dtype.itemsize - 1))


def read_stream(
    stream: BinaryIO, sample_rate: int = 24_000, name: str = "stdin"
) -> Iterator[np.ndarray]:
    """Yield the sound of a binary stream as it arrives: float32 (samples,) at `sample_rate` Hz.

    What the stream may hold is said at `PcmStream`. Raises `AudioError`, beginning with `name`,
    for a bad header, NaN or infinity, and for a stream without any sound.
    """
    source = PcmStream(stream, name)
    yield from resampled(source, source.rate, sample_rate, name)
