"""How samples lie in bytes: the encodings of WAV files and of raw sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dsm_mlx.audio.samples import MAX_CHANNELS, check_rate, from_integers
from dsm_mlx.checks import check_whole
from dsm_mlx.messages import shown

ENCODINGS = {  # name → bytes of a sample; little-endian
    "s16le": 2,
    "s24le": 3,
    "s32le": 4,
    "f32le": 4,
    "f64le": 8,
    "u8": 1,
    "u-law": 1,
    "a-law": 1,
}


@dataclass(frozen=True)
class RawFormat:
    """What samples without a header are: the encoding, the rate in Hz, interleaved channels.

    Raises ValueError or TypeError for an encoding that is not in `ENCODINGS`, and for numbers that
    are out of range.
    """

    encoding: str = "s16le"
    sample_rate: int = 24_000
    channels: int = 1

    def __post_init__(self) -> None:
        if not isinstance(self.encoding, str) or self.encoding not in ENCODINGS:
            known = ", ".join(ENCODINGS)
            raise ValueError(f"encoding is {shown(self.encoding)} (expected one of {known})")
        check_rate(self.sample_rate)
        check_whole("channels", self.channels, 1, MAX_CHANNELS)

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return ENCODINGS[self.encoding] * self.channels

    def decode(self, data: bytes) -> np.ndarray:
        """Whole frames of bytes -> float32 (frames, channels)."""
        return _decode(data, self.encoding).reshape(-1, self.channels)


def _decode(data: bytes, encoding: str) -> np.ndarray:
    if encoding in ("u-law", "a-law"):
        return _TABLES[encoding][np.frombuffer(data, np.uint8)]
    if encoding == "u8":
        return from_integers(np.frombuffer(data, np.uint8))
    if encoding == "s24le":  # three bytes become the upper three of an int32
        samples = np.zeros((len(data) // 3, 4), np.uint8)
        samples[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return from_integers(samples.view("<i4")[:, 0])
    width = ENCODINGS[encoding]
    if encoding.startswith("f"):
        with np.errstate(over="ignore"):  # beyond float32: infinite, which the range check tells
            return np.frombuffer(data, f"<f{width}").astype(np.float32)
    return from_integers(np.frombuffer(data, f"<i{width}"))


def _u_law() -> np.ndarray:
    """The 256 values of ITU-T G.711 u-law: sign, exponent and mantissa, all bits inverted."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    size = ((2 * mantissa + 33) << exponent) - 33
    return (np.where(code & 128, -size, size) / 8192).astype(np.float32)


def _a_law() -> np.ndarray:
    """The 256 values of ITU-T G.711 A-law, whose even bits are inverted."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    size = np.where(exponent == 0, 2 * mantissa + 1, (2 * mantissa + 33) << np.maximum(exponent, 1))
    size = np.where(exponent == 0, size, size >> 1)
    return (np.where(code & 128, size, -size) / 4096).astype(np.float32)


_TABLES = {"u-law": _u_law(), "a-law": _a_law()}


def to_law(encoding: str, pcm: np.ndarray) -> bytes:
    """float32 (samples,) to bytes of "u-law" or "a-law": the nearest of their values."""
    table = _TABLES[encoding]
    order = np.argsort(table, kind="stable")
    rising = table[order]
    nearest = np.searchsorted((rising[1:] + rising[:-1]) / 2, pcm)
    return order[nearest].astype(np.uint8).tobytes()
