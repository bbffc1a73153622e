"""Any sample rate in, one sample rate out, block by block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dsm_mlx.audio.samples import RATES
from dsm_mlx.errors import AudioError

if TYPE_CHECKING:
    from soxr import ResampleStream


class Resampler:
    """Streaming resampling of mono float32 blocks (soxr, quality HQ, at most 80 ms behind).

    The blocks that come out hold, all together, exactly as many samples as the whole signal
    would give at once, rounded to the nearest, and the same values for any split into blocks.
    Raises `AudioError` for a rate outside 1000 to 768000 Hz.
    """

    def __init__(self, source_rate: float, target_rate: float) -> None:
        for rate in (source_rate, target_rate):
            if not RATES[0] <= rate <= RATES[1]:
                raise AudioError(f"sample rate {rate} Hz: expected {RATES[0]} to {RATES[1]} Hz")
        self._rates = source_rate, target_rate
        self._stream: ResampleStream | None = None

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """float32 (samples,) in, float32 (samples,) out, possibly none.

        `last` hands out what is still inside; the next call begins a new signal.
        """
        if self._rates[0] == self._rates[1]:
            return block
        if self._stream is None:
            import soxr

            self._stream = soxr.ResampleStream(*self._rates, 1, dtype="float32")
        out = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
        if last:
            self.clear()
        return out

    def clear(self) -> None:
        """Forget what is still inside; the next call begins a new signal."""
        # soxr complains, on stderr, of each that is there when the interpreter ends.
        self._stream = None
