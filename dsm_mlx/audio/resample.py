"""Any sample rate in, one sample rate out, block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from dsm_mlx.errors import AudioError

RATES = (1_000, 768_000)  # Hz; beyond these a header is damaged rather than unusual


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
        self._stream = None
        if source_rate != target_rate:
            import soxr

            self._stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")

    def __call__(self, block: np.ndarray, last: bool = False) -> np.ndarray:
        """float32 (samples,) in, float32 (samples,) out, possibly none.

        `last` hands out what is still inside; the next call begins a new signal.
        """
        if self._stream is None:
            return block
        out = self._stream.resample_chunk(np.ascontiguousarray(block), last=last)
        if last:
            self._stream.clear()
        return out

    def clear(self) -> None:
        """Forget what is still inside; the next call begins a new signal."""
        if self._stream is not None:
            self._stream.clear()


def mix(block: np.ndarray) -> np.ndarray:
    """Down-mix float32 (samples, channels) to float32 (samples,) by the mean."""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def resampled(
    blocks: Iterable[np.ndarray], source_rate: float, target_rate: float, name: str
) -> Iterator[np.ndarray]:
    """Mono float32 blocks at `source_rate` to such blocks at `target_rate`, none of them empty.

    Raises `AudioError`, naming the source, for NaN or infinity and where there is no sound at all.
    """
    try:
        resampler = Resampler(source_rate, target_rate)
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from None
    seen = made = 0
    for block in blocks:
        if not np.isfinite(block).all():
            bad = seen + int(np.argmin(np.isfinite(block)))
            raise AudioError(f"{name}: NaN or infinity at {bad / source_rate:.3f} s")
        seen += len(block)
        out = resampler(block)
        made += len(out)
        if len(out):
            yield out
    tail = resampler(np.zeros(0, np.float32), last=True)
    if len(tail):
        yield tail
    elif not made:
        raise AudioError(f"{name}: no sound in it ({seen} samples)")
