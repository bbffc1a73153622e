"""Many channels to one, without losing what cancels itself in the mean."""

from __future__ import annotations

import logging

import numpy as np

logger = logging.getLogger("dsm_mlx")

WINDOW_SECONDS = 0.02
# How long the levels of the past count: a moment is no reason to leave the mean, but to come back.
MEMORY_SECONDS, ALONE_SECONDS = 0.5, 0.1
AUDIBLE = 1e-7  # mean square, -70 dB: below, nothing can be lost
# The mean of n channels that have nothing to do with each other has 1/n of their mean energy. With
# a twentieth of that, the channels work against each other.
CANCELS, RECOVERS = 0.05, 0.2


class Downmix:
    """Float32 blocks (samples, channels) of a signal at `rate` Hz to float32 (samples,).

    It is the mean of the channels. Where they cancel each other in it, as when one cable of a
    microphone is reversed, the strongest channel is taken instead, and a warning names `name`.
    Sound is looked at in windows of 20 ms, so that any split into blocks gives the same; what does
    not fill one waits for the next call, or for `flush`. One channel passes as it is.
    """

    def __init__(self, rate: float, name: str) -> None:
        self._name = name
        self._window = max(1, round(rate * WINDOW_SECONDS))
        self._rest: np.ndarray | None = None
        self._levels: np.ndarray | None = None  # mean square of every channel
        self._mean_level = 0.0
        self._channel: int | None = None
        self._told = False

    def __call__(self, block: np.ndarray) -> np.ndarray:
        """The samples of all windows that are complete now, possibly none."""
        if block.shape[1] == 1:
            return block[:, 0]
        if self._rest is not None and len(self._rest):
            block = np.concatenate([self._rest, block])
        whole = len(block) - len(block) % self._window
        self._rest = block[whole:].copy()
        return self._mix(block[:whole].reshape(-1, self._window, block.shape[1]))

    def flush(self) -> np.ndarray:
        """The samples that wait for the rest of their window."""
        rest, self._rest = self._rest, None
        return np.zeros(0, np.float32) if rest is None or not len(rest) else self._mix(rest[None])

    def _mix(self, windows: np.ndarray) -> np.ndarray:
        mixed = windows.mean(axis=2)
        levels = np.square(windows).mean(axis=1)
        mean_levels = np.square(mixed).mean(axis=1)
        for index, (channels, mean) in enumerate(zip(levels, mean_levels, strict=True)):
            self._watch(channels, float(mean))
            if self._channel is not None:
                mixed[index] = windows[index, :, self._channel]
        return mixed.reshape(-1)

    def _watch(self, levels: np.ndarray, mean_level: float) -> None:
        """Take the levels of a window into account: the mean from here on, or which channel."""
        if self._levels is None:
            self._levels = np.zeros(len(levels))
        if levels.mean() < AUDIBLE:
            return
        seconds = MEMORY_SECONDS if self._channel is None else ALONE_SECONDS
        new = 1 - np.exp(-WINDOW_SECONDS / seconds)
        self._levels += new * (levels - self._levels)
        self._mean_level += new * (mean_level - self._mean_level)
        expected = self._levels.mean() / len(levels)
        if self._channel is None and self._mean_level < CANCELS * expected:
            self._channel = int(self._levels.argmax())
            self._tell(self._channel)
        elif self._channel is not None and self._mean_level > RECOVERS * expected:
            self._channel = None

    def _tell(self, channel: int) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "%s: the channels cancel each other (one is inverted); only channel %d is heard",
                self._name,
                channel + 1,
            )
