"""Frames of MPEG audio (mp3) and ADTS (aac), told by their headers; nothing is decoded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

# kbit/s by layer (1, 2, 3), for MPEG 1 and for the lower rates of MPEG 2 and 2.5
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Frame:
    """A frame: bytes with its header, samples of a channel, Hz; `side` is where Xing's tag lies."""

    size: int
    samples: int
    rate: int
    side: int = 0


def mpeg_frame(head: bytes) -> Frame | None:
    """The frame that begins with these four bytes, of MPEG 1, 2 or 2.5, layer 1, 2 or 3."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (head[1] >> 3) & 3, 4 - ((head[1] >> 1) & 3)
    bitrate, rate, padding = head[2] >> 4, (head[2] >> 2) & 3, (head[2] >> 1) & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3 or head[3] & 3 == 2:
        return None
    older = version != 3  # MPEG 2 or 2.5
    kbits = _BITRATES[2 if older else 1, layer][bitrate - 1]
    hertz = _RATES[rate] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return Frame(4 * (12_000 * kbits // hertz + padding), 384, hertz)
    samples = 576 if layer == 3 and older else 1152
    mono = head[3] >> 6 == 3
    side = (9 if mono else 17) if older else (17 if mono else 32)
    return Frame(samples // 8 * 1000 * kbits // hertz + padding, samples, hertz, 4 + side)


def adts_frame(head: bytes) -> Frame | None:
    """The frame of ADTS, as aac files and streams have it, that begins with these six bytes."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return Frame(size, 1024, 0) if size > 7 and (head[2] >> 2) & 15 < 13 else None


def begins_frames(head: bytes) -> str | None:
    """ "mp3" or "aac" where `head` holds frames, one after another, else None.

    Two in a row are enough at the very beginning; a stream that is joined in the middle of a frame
    needs three, because in raw samples two may stand by chance.
    """
    at = head.find(b"\xff")
    while at >= 0:
        for name, parse in (("mp3", mpeg_frame), ("aac", adts_frame)):
            if _follow(head, at, parse, 2 if at == 0 else 3):
                return name
        at = head.find(b"\xff", at + 1)
    return None


def _follow(head: bytes, at: int, parse, count: int) -> bool:
    rates = set()
    for _ in range(count):
        frame = parse(head[at : at + 6])
        if frame is None:
            return False
        rates.add(frame.rate)
        at += frame.size
    return len(rates) == 1


def count_samples(file: BinaryIO) -> tuple[int, int | None]:
    """Samples of a channel in the frames of an mp3 file, and how many its own header promises.

    libsndfile guesses the length of a file without such a header, or of several files in one, and
    gives no more than that. The promise is None without the header of Xing or LAME.
    """
    samples, promised = 0, None
    data, offset = b"", 0  # `offset`: how far the next frame is from the start of `data`
    while more := file.read(_CHUNK):
        data, offset = data[offset:] + more, max(offset - len(data), 0)
        while offset + 200 <= len(data):
            frame = mpeg_frame(data[offset : offset + 4])
            if frame is None:
                offset = _resume(data, offset)
                continue
            tag = offset + frame.side
            if not samples and data[tag : tag + 4] in (b"Xing", b"Info") and data[tag + 7] & 1:
                promised = int.from_bytes(data[tag + 8 : tag + 12], "big") * frame.samples
            else:
                samples += frame.samples
            offset += frame.size
    return samples, promised


def _resume(data: bytes, offset: int) -> int:
    """Where a frame may begin next: behind a tag, or where two stand in a row."""
    if data[offset : offset + 3] == b"TAG":
        return offset + 128
    if data[offset : offset + 3] == b"ID3":
        size = data[offset + 6 : offset + 10]
        return offset + 10 + sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(size))
    found = data.find(b"\xff", offset + 1)
    while found >= 0 and not _follow(data, found, mpeg_frame, 2):
        found = data.find(b"\xff", found + 1)
    return len(data) if found < 0 else found
