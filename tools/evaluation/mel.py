"""Mel spectra, to tell how far a sound is from another one."""

from __future__ import annotations

from functools import cache

import numpy as np

_RATE = 24_000
_SIZE, _HOP, _BANDS = 1024, 256, 80
_FLOOR = 1e-10  # power: 100 dB below full scale


def log_mel(pcm: np.ndarray) -> np.ndarray:
    """float32 pcm (samples,) at 24 kHz -> float64 (frames, 80): power by mel band, in dB.

    Frames of 1024 samples with a Hann window, every 256 samples; a shorter sound has one.
    """
    if pcm.size < _SIZE:
        pcm = np.pad(pcm, (0, _SIZE - pcm.size))
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _SIZE)[::_HOP]
    window = np.hanning(_SIZE)
    power = np.abs(np.fft.rfft(frames * window) / window.sum()) ** 2
    return 10 * np.log10(np.maximum(power @ _filters(), _FLOOR))


@cache
def _filters() -> np.ndarray:
    """Triangles (frequencies, bands) that overlap by half, equally wide in mel up to 12 kHz."""
    top = 2595 * np.log10(1 + _RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    frequencies = np.fft.rfftfreq(_SIZE, 1 / _RATE)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    triangles = np.clip(np.minimum(rising, falling), 0, None)
    # The lowest bands are narrower than the distance of two frequencies: each has its nearest one.
    nearest = np.abs(frequencies - middle).argmin(0)
    empty = triangles.sum(0) == 0
    triangles[nearest[empty], np.flatnonzero(empty)] = 1.0
    return triangles
