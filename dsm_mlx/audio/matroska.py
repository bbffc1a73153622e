"""The sound that ffmpeg gives out: uncompressed, in Matroska, because that keeps the times.

WAV would be simpler and has none: sound that begins at 5 s of a video would begin at 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from dsm_mlx.audio.reader import Reader
from dsm_mlx.errors import AudioError

# what is gone into, and what is read; all else is skipped
SEGMENT, CLUSTER, TRACKS, TRACK, AUDIO = 0x18538067, 0x1F43B675, 0x1654AE6B, 0xAE, 0xE1
BLOCK_GROUP = 0xA0
CONTAINERS = (SEGMENT, CLUSTER, TRACKS, TRACK, AUDIO, BLOCK_GROUP)
RATE, CHANNELS, CLUSTER_TIME, SIMPLE_BLOCK, BLOCK = 0xB5, 0x9F, 0xE7, 0xA3, 0xA1
VALUES = (RATE, CHANNELS, CLUSTER_TIME, SIMPLE_BLOCK, BLOCK)


class MatroskaReader:
    """32-bit float sound of the one track in `reader`.

    `.rate` in Hz and `.channels`; iterating yields (seconds, float32 (samples, channels)).
    `.rate` is None where nothing came.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.rate: float | None = None
        self.channels = 1
        self._elements = self._walk()
        self._time = 0
        self._first = next(self._blocks(), None)
        if self._first is None:
            self.rate = None

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        if self._first is not None:
            yield self._first
            yield from self._blocks()

    def _blocks(self) -> Iterator[tuple[float, np.ndarray]]:
        for element, data in self._elements:
            if element == RATE:
                self.rate = struct.unpack(">d" if len(data) == 8 else ">f", data)[0]
            elif element == CHANNELS:
                self.channels = int.from_bytes(data, "big")
            elif element == CLUSTER_TIME:
                self._time = int.from_bytes(data, "big")
            else:  # a block: track, time within the cluster, flags, samples
                time = self._time + struct.unpack(">h", data[1:3])[0]
                whole = len(data) - 4 - (len(data) - 4) % (4 * self.channels)
                samples = np.frombuffer(data, "<f4", whole // 4, 4).reshape(-1, self.channels)
                yield time / 1000, samples

    def _walk(self) -> Iterator[tuple[int, bytes]]:
        """The elements of interest, as (id, content), in their order."""
        while (element := self._number(keep_length=True)) is not None:
            size = self._number()
            if size is None:
                return
            if element in VALUES:
                data = self._reader.exactly(size)
                if len(data) < size:
                    return
                yield element, data
            elif element not in CONTAINERS:
                self._reader.skip(size)

    def _number(self, keep_length: bool = False) -> int | None:
        """A number of variable length: leading zero bits tell how many bytes it has."""
        first = self._reader.exactly(1)
        if not first:
            return None
        length = 9 - first[0].bit_length()
        if length > 8:
            raise AudioError(f"{self._reader.name}: what ffmpeg gives cannot be understood")
        data = first + self._reader.exactly(length - 1)
        value = int.from_bytes(data, "big")
        return value if keep_length else value & ~(1 << 7 * length)
