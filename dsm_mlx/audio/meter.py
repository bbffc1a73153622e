"""How loud the sound of a device is at this moment."""

from __future__ import annotations

import math
import time
from collections import deque

import numpy as np

WINDOW_SECONDS = 0.1
STALE_SECONDS = 0.5  # no level is shown for a device that has given nothing for this long
FLOOR = -120.0  # decibels
SOFTEST = -60.0  # decibels, where what is shown of a level begins


class Meter:
    """The level of the last 0.1 s of a signal at `rate` Hz, of its loudest channel.

    One thread gives blocks, any may look. `level` is the root mean square and `peak` the greatest
    sample, in decibels of full scale: a square wave at full scale has a level of 0, a sine one of
    -3, both a peak of 0. Both are -120 at least, and once nothing has come for half a second.
    """

    def __init__(self, rate: float) -> None:
        self._window = rate * WINDOW_SECONDS
        self._blocks: deque[tuple[int, float, float]] = deque()  # length, sum of squares, peak
        self._samples = 0
        self._state = (-math.inf, FLOOR, FLOOR)  # when; level; peak: replaced in one go

    def __call__(self, block: np.ndarray) -> None:
        """Take float32 (samples, channels)."""
        if not len(block):
            return
        squares = float(np.einsum("ij,ij->j", block, block).max())
        self._blocks.append((len(block), squares, float(np.abs(block).max())))
        self._samples += len(block)
        while self._samples - self._blocks[0][0] >= self._window:
            self._samples -= self._blocks.popleft()[0]
        mean = sum(squares for _, squares, _ in self._blocks) / self._samples
        peak = max(peak for _, _, peak in self._blocks)
        self._state = time.monotonic(), decibels(math.sqrt(mean)), decibels(peak)

    @property
    def level(self) -> float:
        """Decibels of the root mean square."""
        when, level, _ = self._state
        return level if time.monotonic() - when < STALE_SECONDS else FLOOR

    @property
    def peak(self) -> float:
        """Decibels of the greatest sample."""
        when, _, peak = self._state
        return peak if time.monotonic() - when < STALE_SECONDS else FLOOR


def decibels(amplitude: float) -> float:
    """Of an amplitude from 0 up: 20 log10 of it, and -120 at least."""
    return max(FLOOR, 20 * math.log10(amplitude)) if amplitude > 0 else FLOOR


def share(level: float) -> float:
    """How much of a bar shows a level in decibels: from 0, at -60 and below, to 1, at 0."""
    return min(1.0, max(0.0, 1 - level / SOFTEST))
