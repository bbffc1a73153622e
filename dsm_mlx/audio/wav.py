"""WAV as it comes, from files and pipes alike, and raw samples. Nothing is decompressed here."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dsm_mlx.audio.encodings import RawFormat
from dsm_mlx.audio.reader import KEPT_BYTES, READ_BYTES, Reader
from dsm_mlx.audio.samples import MAX_CHANNELS, RATES
from dsm_mlx.errors import AudioError

logger = logging.getLogger("dsm_mlx")

# Programs that write WAV to a pipe cannot know its size and leave 0, 0xFFFFFFFF or about 2 GiB.
UNKNOWN_SIZE = 0x7FFFF000
MAX_CHUNKS = 1000  # before the sound: more are no header
MAX_HEADER_BYTES = 1 << 30
TOLERANCE_SECONDS = 0.25  # encoders pad, and decoders take that away
PCM, FLOAT, A_LAW, U_LAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
_ENCODINGS = {  # of the format's tag and the bytes of a sample
    (PCM, 1): "u8",
    (PCM, 2): "s16le",
    (PCM, 3): "s24le",
    (PCM, 4): "s32le",
    (FLOAT, 4): "f32le",
    (FLOAT, 8): "f64le",
    (A_LAW, 1): "a-law",
    (U_LAW, 1): "u-law",
}
CHUNKS = (b"data", b"fmt ", b"fact", b"LIST", b"JUNK", b"junk", b"bext", b"PEAK", b"cue ", b"id3 ")


class PcmSource:
    """The samples that follow in `reader`, `size` bytes of them or (None) all that come.

    Iterating yields float32 (frames, channels) at `.rate` Hz as they arrive; an incomplete sample
    at the end is dropped, and if less than `size` came, that is a warning.
    """

    def __init__(self, reader: Reader, format: RawFormat, size: int | None = None) -> None:
        self.rate: float = format.sample_rate
        self.channels = format.channels
        self._reader, self._format, self._size = reader, format, size
        there = reader.size()
        known = [length for length in (size, there) if length is not None]
        self.duration = min(known) / self._bytes_per_second if known else None
        reader.settle()

    def __iter__(self) -> Iterator[np.ndarray]:
        width = self._format.frame_bytes
        rest, got = b"", 0
        while data := self._take(got):
            got += len(data)
            data = rest + data
            whole = len(data) - len(data) % width
            rest = data[whole:]
            if whole:
                yield self._format.decode(data[:whole])
        if self._size is not None and got < self._size:
            per_second = self._bytes_per_second
            tell_cut(self._reader.name, got / per_second, self._size / per_second)

    def close(self) -> None:
        """Nothing is held: the stream belongs to whoever made the reader."""

    def _take(self, got: int) -> bytes:
        left = READ_BYTES if self._size is None else min(READ_BYTES, self._size - got)
        return self._reader.read(left) if left else b""

    @property
    def _bytes_per_second(self) -> float:
        return self._format.frame_bytes * self.rate


def tell_cut(name: str, seconds: float, promised: float | None = None, why: str = "") -> None:
    """Warn that sound ends before its end."""
    why = f" ({why})" if why else ""
    if promised is None:
        logger.warning("%s ends early, at %.2f s: it is cut or damaged%s", name, seconds, why)
    else:
        left = promised - seconds
        logger.warning("%s ends early: %.2f s of %.2f s are missing%s", name, left, promised, why)


def tell_end(name: str, seconds: float, said: float | None, sure: bool, wrong: str) -> None:
    """Warn where a decoder ended early.

    said: the length by the header; sure: it is that of the sound, and no guess. wrong: what the
    decoder complained of: that alone is no reason if all is there.
    """
    missing = said is not None and said - seconds > TOLERANCE_SECONDS
    if missing and (sure or wrong):
        tell_cut(name, seconds, said, wrong)
    elif wrong and said is None:
        tell_cut(name, seconds, None, wrong)


def open_wav(reader: Reader) -> PcmSource | None:
    """The samples of the WAV (RIFF, RF64 or BW64) that begins in `reader`.

    None where they are compressed, or lie in an unusual way; then nothing has been read. Raises
    AudioError for a header that is damaged.
    """
    header = _Header(reader)
    if header.find_data() and header.format is not None:
        return PcmSource(reader, header.format, header.size)
    if not reader.rewind():
        raise AudioError(f"{reader.name}: WAV of an unusual kind behind a long header: {header}")
    return None


@dataclass
class _Header:
    """A WAV header, read chunk by chunk up to the first sample."""

    reader: Reader
    format: RawFormat | None = None
    size: int | None = None  # bytes of samples; None for all that come
    read: int = 0
    _long: int | None = None  # bytes of samples, from the ds64 chunk of RF64
    _described: str = "there is no format"

    def __str__(self) -> str:
        return self._described

    def find_data(self) -> bool:
        """Read to the first sample; False where the samples are not plain ones."""
        _, riff_size, _ = struct.unpack("<4sI4s", self._exactly(12))
        found = False
        for _ in range(MAX_CHUNKS):
            kind, size = struct.unpack("<4sI", self._exactly(8))
            if kind == b"fmt ":
                found = True
                self.format = self._read_format(self._body(kind, size))
                if self.format is None:
                    return False
            elif kind == b"data":
                if not found:
                    raise AudioError(f"{self.reader.name}: the WAV header does not tell the format")
                self.size = self._data_size(size, riff_size)
                return True
            elif kind == b"ds64":
                self._long = struct.unpack("<Q", self._body(kind, size)[8:16].ljust(8, b"\0"))[0]
            else:
                self._skip(size)
            self._skip_padding(size)
        raise AudioError(f"{self.reader.name}: the WAV header has over {MAX_CHUNKS} chunks")

    def _exactly(self, size: int) -> bytes:
        data = self.reader.exactly(size)
        self.read += len(data)
        if len(data) < size:
            raise AudioError(f"{self.reader.name}: the WAV header ends before the sound begins")
        return data

    def _body(self, kind: bytes, size: int) -> bytes:
        if size > KEPT_BYTES // 2:
            raise AudioError(
                f"{self.reader.name}: the WAV header is damaged: "
                f"{kind.decode().strip()} has {size} bytes"
            )
        return self._exactly(size)

    def _skip(self, size: int) -> None:
        self.read += size
        if self.read > MAX_HEADER_BYTES:
            raise AudioError(
                f"{self.reader.name}: the WAV header is damaged: no sound in the first "
                f"{MAX_HEADER_BYTES >> 20} MiB"
            )
        self.reader.skip(size)

    def _skip_padding(self, size: int) -> None:
        """Chunks begin at even places, but some programs do not know that."""
        if size % 2 and self.reader.peek(4) not in CHUNKS:
            self._skip(1)

    def _read_format(self, body: bytes) -> RawFormat | None:
        if len(body) < 16:
            raise AudioError(f"{self.reader.name}: the WAV header is damaged: fmt is too short")
        tag, channels, rate, _, align, bits = struct.unpack("<HHIIHH", body[:16])
        if tag == EXTENSIBLE and len(body) >= 26:
            tag = struct.unpack("<H", body[24:26])[0]
        width = (bits + 7) // 8
        encoding = _ENCODINGS.get((tag, width))
        self._described = f"format {tag}, {bits} bits, {channels} channels, {rate} Hz"
        if not 1 <= channels <= MAX_CHANNELS:
            raise AudioError(
                f"{self.reader.name}: the WAV header says {channels} channels "
                f"(expected 1 to {MAX_CHANNELS})"
            )
        if not RATES[0] <= rate <= RATES[1]:
            raise AudioError(
                f"{self.reader.name}: the WAV header says a sample rate of {rate} Hz "
                f"(expected {RATES[0]} to {RATES[1]} Hz)"
            )
        if encoding is None or align not in (0, width * channels):
            return None
        return RawFormat(encoding, rate, channels)

    def _data_size(self, size: int, riff_size: int) -> int | None:
        """How many bytes of samples follow. None for all, where the header does not know.

        A recorder that was killed leaves 0, or its first guess. 0 is meant where the header says
        that other chunks follow; a large number where so much is there.
        """
        there = self.reader.size()
        if size == 0xFFFFFFFF and self._long and self._long < 1 << 62:
            return self._long
        if size == 0:
            return 0 if self.read < riff_size + 8 < UNKNOWN_SIZE else None
        if size >= UNKNOWN_SIZE and (there is None or size > there):
            return None
        return size
