"""Live Opus in Ogg pages, in and out. PyAV does the coding; it is an optional extra.

The pages are made and taken apart here because a library that does it holds a page back until the
next one comes, and a live listener would wait for it. Sources: RFC 3533 (Ogg), RFC 7845 (Opus in
Ogg); pre-skip, rate and length of packets are those of moshi-server.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator

import numpy as np

from dsm_mlx.audio.pyav import has_pyav

RATE = 24_000
_PACKET = 960  # samples: 40 ms
_PRE_SKIP = 3840  # samples at 48 kHz
_BITRATE = 48_000
_MOST_BUFFERED = 1 << 17  # bytes without a whole page, which has 65,307 at most
_PAGE = struct.Struct("<4sBBqIIIB")
_BEGINS, _CONTINUED = 2, 1
NEEDS = "Ogg Opus needs PyAV on the server (pip install 'dsm-mlx[opus]')"


class OpusError(Exception):
    """What to tell a client whose Opus cannot be had."""


def check() -> None:
    """OpusError where PyAV is not installed."""
    if not has_pyav():
        raise OpusError(NEEDS)


class OggOpusWriter:
    """float32 frames of 1920 samples -> pages of one Ogg Opus stream."""

    def __init__(self) -> None:
        check()
        import av

        self._av = av
        self._encoder = av.CodecContext.create("libopus", "w")
        self._encoder.sample_rate, self._encoder.layout = RATE, "mono"
        self._encoder.format, self._encoder.bit_rate = "flt", _BITRATE
        self._encoder.options = {"frame_duration": "40", "application": "voip"}
        self._serial, self._number, self._samples = secrets.randbits(32), 0, 0

    def header(self) -> bytes:
        """The first two pages."""
        head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, _PRE_SKIP, 48_000, 0, 0)
        vendor = b"dsm_mlx"
        tags = struct.pack("<8sI", b"OpusTags", len(vendor)) + vendor + struct.pack("<I", 0)
        return self._page(head, _BEGINS, 0) + self._page(tags, 0, 0)

    def frame(self, pcm: np.ndarray) -> bytes:
        """float32 (1920,) -> two pages, of one packet each."""
        pages = []
        for start in range(0, len(pcm), _PACKET):
            samples = np.ascontiguousarray(pcm[None, start : start + _PACKET])
            frame = self._av.AudioFrame.from_ndarray(samples, format="flt", layout="mono")
            frame.sample_rate, frame.pts = RATE, self._samples
            self._samples += _PACKET
            packets = map(bytes, self._encoder.encode(frame))
            pages += [self._page(packet, 0, 2 * self._samples) for packet in packets]
        return b"".join(pages)

    def _page(self, packet: bytes, flags: int, granule: int) -> bytes:
        lacing = bytes([255] * (len(packet) // 255) + [len(packet) % 255])
        fields = (b"OggS", 0, flags, granule, self._serial, self._number)
        self._number += 1
        page = _PAGE.pack(*fields, 0, len(lacing)) + lacing + packet
        return _PAGE.pack(*fields, _checksum(page), len(lacing)) + lacing + packet


class OggOpusReader:
    """Bytes of one Ogg Opus stream, cut anywhere -> float32 samples at 24 kHz."""

    def __init__(self) -> None:
        check()
        import av

        self._av = av
        self._buffer = bytearray()
        self._part = b""  # of a packet that goes on in the next page
        self._packets = 0
        self._skip = 0  # samples at 48 kHz
        self._decoder = av.CodecContext.create("libopus", "r")
        self._decoder.sample_rate, self._decoder.layout = 48_000, "mono"
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)

    def push(self, data: bytes) -> np.ndarray:
        """More bytes -> the samples that became known, float32 (samples,).

        OpusError for what is no Ogg Opus.
        """
        self._buffer += data
        sound = [np.zeros(0, np.float32)]
        try:
            for packet in self._take_packets():
                sound += self._decode(packet)
        except (self._av.FFmpegError, struct.error) as error:
            raise OpusError(f"this is no Ogg Opus ({type(error).__name__})") from None
        return np.concatenate(sound)

    def _decode(self, packet: bytes) -> Iterator[np.ndarray]:
        self._packets += 1
        if self._packets == 1:
            if packet[:8] != b"OpusHead":
                raise OpusError("this is no Ogg Opus (it does not begin with OpusHead)")
            (self._skip,) = struct.unpack_from("<H", packet, 10)
            self._skip = self._skip * RATE // 48_000
        elif self._packets > 2:
            for frame in self._decoder.decode(self._av.Packet(packet)):
                for piece in self._resampler.resample(frame):
                    samples = piece.to_ndarray()[0]
                    skipped = min(self._skip, len(samples))
                    self._skip -= skipped
                    yield samples[skipped:]

    def _take_packets(self) -> Iterator[bytes]:
        """The packets of all pages that are whole."""
        buffer = self._buffer
        while (start := buffer.find(b"OggS")) >= 0:
            del buffer[:start]
            if len(buffer) < _PAGE.size:
                return
            *_, segments = _PAGE.unpack_from(buffer)
            begin = _PAGE.size + segments
            lacing = bytes(buffer[_PAGE.size : begin])
            end = begin + sum(lacing)
            if len(lacing) < segments or len(buffer) < end:
                return
            if not buffer[5] & _CONTINUED:
                self._part = b""
            page = bytes(buffer[begin:end])
            del buffer[:end]
            yield from self._packets_of(page, lacing)
        if len(buffer) > _MOST_BUFFERED:
            raise OpusError("this is no Ogg Opus (there is no page in it)")

    def _packets_of(self, page: bytes, lacing: bytes) -> Iterator[bytes]:
        at = 0
        for size in lacing:
            self._part += page[at : at + size]
            at += size
            if size < 255:
                packet, self._part = self._part, b""
                yield packet
        if len(self._part) > _MOST_BUFFERED:
            raise OpusError("this is no Ogg Opus (a packet has no end)")


def _checksum(page: bytes) -> int:
    """The CRC of a page whose own field is zero: polynomial 0x04C11DB7, nothing inverted."""
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
    return crc


def _crc_of(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


_CRC = [_crc_of(byte) for byte in range(256)]
