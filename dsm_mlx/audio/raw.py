"""Samples without a header, as clients send them: of any rate, cut anywhere."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from dsm_mlx.audio.downmix import Downmix
from dsm_mlx.audio.encodings import RawFormat, to_law
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.audio.writer import to_s16le
from dsm_mlx.errors import AudioError


class Decoder:
    """Bytes of interleaved samples to float32 mono at 24 kHz, piece by piece."""

    def __init__(self, encoding: str, rate: Any, channels: Any):
        """encoding, rate, channels: see `RawFormat`. AudioError for those that cannot be."""
        try:
            self._format = RawFormat(encoding, rate, channels)
        except (TypeError, ValueError) as error:
            raise AudioError(str(error)) from None
        self._downmix = Downmix(rate, "a client's sound")
        self._resample = Resampler(rate, 24_000)
        self._cut = b""

    def __call__(self, data: bytes) -> np.ndarray:
        """float32 (samples,): what is complete by now, possibly nothing."""
        data = self._cut + data
        whole = len(data) - len(data) % self._format.frame_bytes
        self._cut = data[whole:]
        return self._resample(self._downmix(self._format.decode(data[:whole])))

    def rest(self) -> np.ndarray:
        """float32 (samples,): what is still inside; a sample that was cut is left out."""
        return self._resample(self._downmix.flush(), last=True)


class Encoder:
    """float32 mono at 24 kHz to bytes of samples, piece by piece: what `Decoder` takes."""

    def __init__(self, encoding: str, rate: int):
        """encoding: s16le, u-law or a-law. rate: of the bytes, in Hz."""
        self._encode = to_s16le if encoding == "s16le" else partial(to_law, encoding)
        self._resample = Resampler(24_000, rate)

    def __call__(self, pcm: np.ndarray) -> bytes:
        """float32 (samples,) -> what is complete by now, possibly nothing."""
        return self._encode(self._resample(pcm))

    def rest(self) -> bytes:
        """What is still inside, when no more comes."""
        return self._encode(self._resample(np.zeros(0, np.float32), last=True))
