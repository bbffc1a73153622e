"""What happens to the level of a sound on its way to a model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_NOISE = 25.0  # decibels below the speech


class Condition(NamedTuple):
    """What happens to a sentence: decibels of gain, an offset, and steady noise."""

    name: str
    decibels: float = 0.0
    offset: float = 0.0
    noise: bool = False

    def apply(self, pcm: np.ndarray, seed: int) -> np.ndarray:
        """float32 pcm (samples,) -> the same, as a microphone of 16 bits would give it."""
        made = pcm.astype(np.float64)
        if self.noise:
            level = np.sqrt(np.mean(made**2)) * 10 ** (-_NOISE / 20)
            made = made + level * np.random.default_rng(seed).standard_normal(made.size)
        made = np.round((made * 10 ** (self.decibels / 20) + self.offset) * 32_768) / 32_768
        return np.clip(made, -1.0, 32_767 / 32_768).astype(np.float32)


CONDITIONS = (
    Condition("as it is"),
    Condition("-20 dB", -20),
    Condition("-30 dB", -30),
    Condition("-40 dB", -40),
    Condition("+10 dB", 10),
    Condition("offset 0.1", offset=0.1),
    Condition("-30 dB, offset 0.1", -30, 0.1),
    Condition("noise", noise=True),
    Condition("noise, -30 dB", -30, noise=True),
)
