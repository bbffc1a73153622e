"""What bytes are, told by how they begin: sound of which format, or no sound at all."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from dsm_mlx.audio.mpeg import begins_frames
from dsm_mlx.audio.reader import Reader

MAGIC_BYTES = 64
# as many as 80 ms of 24 kHz mono have: waiting for them costs nothing, a model waits for them too
GUESS_BYTES = 3840
BOXES_BYTES = 1 << 16


@dataclass(frozen=True)
class Format:
    """A kind of bytes.

    sound: whether sound may be in it. streams: whether it can be decoded as it comes, without a
    look at its end. counts_from_zero: its timeline begins at zero, so that sound which begins at
    5 s is meant to; otherwise only times within the file say something, as in broadcasts.
    tells_length: how long the sound is stands in a header, and is no guess.
    """

    name: str
    sound: bool = True
    streams: bool = False
    counts_from_zero: bool = False
    tells_length: bool = False


WAV = Format("WAV", streams=True)
MP4 = Format("MP4 (m4a, mov)", counts_from_zero=True, tells_length=True)
MP4_STREAM = replace(MP4, streams=True)
MATROSKA = replace(MP4_STREAM, name="Matroska (mkv, webm)")
OGG = Format("Ogg", streams=True)
OGG_VIDEO = Format("Ogg with video", streams=True)
MP3 = Format("MP3", streams=True)
AAC = Format("AAC", streams=True)
TEXT = Format("plain text", sound=False)
TAR = Format("a tar archive", sound=False)
AC3 = Format("AC-3", streams=True)
TRANSPORT = Format("MPEG transport stream", streams=True)

_SIGNATURES = [
    (rb"(RIFF|RF64|BW64)....WAVE", WAV),
    (rb"RIFF....AVI ", Format("AVI", streams=True)),
    (rb"RIFF....WEBP", Format("an image", sound=False)),
    (rb"RIFX....WAVE", Format("big-endian WAV")),
    (rb"RIFF|RF64", Format("RIFF")),
    (rb"fLaC", Format("FLAC", streams=True, tells_length=True)),
    (rb"OggS.{22}.{1,8}(\x80theora|fishead|\x01video)", OGG_VIDEO),
    (rb"OggS", OGG),
    (rb"ID3[\x02-\x04]", MP3),
    (rb"\x1a\x45\xdf\xa3", MATROSKA),
    (rb"....(ftyp|styp|moov|moof|mdat|sidx|wide|free|skip|pnot|emsg)", MP4),
    (rb"FORM....(AIFF|AIFC|8SVX)", Format("AIFF")),
    (rb"caff\x00[\x01\x02]", Format("CAF")),
    (rb"\.snd|dns\.", Format("AU", streams=True, tells_length=True)),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Format("ASF", streams=True)),
    (rb"FLV\x01", Format("FLV", streams=True)),
    (rb"\x00\x00\x01\xba", Format("MPEG program stream", streams=True)),
    (rb"#!AMR", Format("AMR", streams=True)),
    (rb"riff\x2e\x91\xcf\x11", Format("W64")),
    (rb"wvpk", Format("WavPack", streams=True)),
    (rb"ADIF", AAC),
    (rb"\x7f\xfe\x80\x01", Format("DTS", streams=True)),
    (rb"MAC ", Format("Monkey's Audio")),
    (rb"MPCK|MP\+[\x07\x17]", Format("Musepack")),
    (rb"TTA1", Format("TTA")),
    (rb"DSD |FRM8", Format("DSD")),
    (rb"\.RMF\x00", Format("RealMedia")),
    (
        rb"NIST_1A|Creative Voice File\x1a|Extended Instrument:|PVF1\n| paf|fap |2BIT",
        Format("an old format"),
    ),
    (rb"\x64\xa3[\x01-\x04]\x00|\x00[\x01-\x04]\xa3\x64", Format("IRCAM")),
    (rb"%PDF-", Format("a PDF document", sound=False)),
    (rb"PK(\x03\x04|\x05\x06)", Format("a zip archive", sound=False)),
    (rb"\x1f\x8b\x08[\x00-\x1f].{4}[\x00\x02\x04]", Format("a gzip archive", sound=False)),
    (rb"BZh[1-9](\x31\x41\x59\x26|\x17\x72\x45\x38)", Format("a bzip2 archive", sound=False)),
    (rb"\xfd7zXZ\x00", Format("an xz archive", sound=False)),
    (rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07|\x28\xb5\x2f\xfd", Format("an archive", sound=False)),
    (rb"\x7fELF|[\xce\xcf]\xfa\xed\xfe|\xca\xfe\xba\xbe", Format("a program", sound=False)),
    (rb"MZ.{26}\x00{8}.{4}\x00{20}", Format("a program", sound=False)),
    (rb"\x89PNG\r\n|GIF8[79]a|\xff\xd8\xff[\xc0-\xfe]", Format("an image", sound=False)),
    (rb"MThd\x00\x00\x00\x06", Format("MIDI, notes without sound", sound=False)),
    (rb"\x93NUMPY", Format("a numpy array; load it and give the array", sound=False)),
    (rb"SQLite format 3\x00", Format("a database", sound=False)),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format("an Office document", sound=False)),
]
_MAGIC = [(re.compile(pattern, re.DOTALL), format) for pattern, format in _SIGNATURES]
_AC3_KBITS = (
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
)  # fmt: skip
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # all but white space and escape


def told(reader: Reader) -> Format | None:
    """The format whose signature the bytes begin with; nothing is read. None if there is none."""
    head = reader.peek(MAGIC_BYTES)
    for pattern, format in _MAGIC:
        if pattern.match(head):
            return _stream_or_not(reader) if format is MP4 else format
    return None


def guessed(reader: Reader) -> Format | None:
    """What bytes without a signature look like: frames of mp3, aac or ac3, text. Nothing is read.

    None means: nothing that is known; samples without a header, perhaps.
    """
    head = reader.peek(GUESS_BYTES)
    if frames := begins_frames(head):
        return MP3 if frames == "mp3" else AAC
    if len(head) > 5 * 188 and all(_is_packet(head[at:]) for at in range(0, 5 * 188, 188)):
        return TRANSPORT
    if head[257:262] == b"ustar":
        return TAR
    if _is_ac3(head):
        return AC3
    return TEXT if is_text(head) else None


def is_text(head: bytes) -> bool:
    """Whether bytes are text: UTF-8, UTF-16 with its mark, or mostly ASCII of some code page."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head[: len(head) // 2 * 2].decode("utf-16", "replace")
        return text != "" and all(sign.isprintable() or sign.isspace() for sign in text)
    if not head or _CONTROLS.search(head):
        return False
    if len(head) == GUESS_BYTES and len(set(head)) < 4:  # the same sample again and again
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last sign may be cut
    except UnicodeDecodeError:
        return sum(byte < 128 for byte in head) >= 0.9 * len(head)
    return True


def _is_packet(head: bytes) -> bool:
    """Whether a packet of a transport stream begins here."""
    return head[0] == 0x47 and not head[1] & 0x80 and head[3] & 0x30 != 0


def _is_ac3(head: bytes) -> bool:
    """Whether a frame of AC-3 or E-AC-3 begins here, and another one where it ends.

    Source: ETSI TS 102 366, 4.3 and E.1.2.
    """
    if len(head) < 8 or head[:2] != b"\x0b\x77":
        return False
    if head[5] >> 3 > 10:  # E-AC-3 tells its size
        size = 2 * (((head[2] & 7) << 8 | head[3]) + 1)
        return head[size : size + 2] == head[:2]
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code > 37:
        return False
    bits = 1000 * _AC3_KBITS[code // 2] * 1536 // (48_000, 44_100, 32_000)[rate]
    size = 2 * (bits // 16 + (code % 2 if rate == 1 else 0))
    return head[size : size + 2] == head[:2]


def _stream_or_not(reader: Reader) -> Format:
    """MP4 whose index comes before its sound can be decoded as it comes."""
    at = 0
    while at < BOXES_BYTES and len(box := reader.peek(at + 8)[at:]) == 8:
        kind, size = box[4:], int.from_bytes(box[:4], "big")
        if kind in (b"moov", b"moof"):
            return MP4_STREAM
        if kind == b"mdat" or size < 8:
            break
        at += size
    return MP4
