"""Whose voice it is, told from the long-term spectrum alone."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

_SIZE, _HOP = 1024, 512
_BANDS = 40
_LOUD = 0.1  # of the loudest frames' amplitude: quieter ones tell little of a voice


def timbre(pcm: np.ndarray) -> np.ndarray:
    """pcm (samples,) at 24 kHz -> mean log power (40,) by band, whatever the level."""
    frames = np.lib.stride_tricks.sliding_window_view(pcm, _SIZE)[::_HOP] * np.hanning(_SIZE)
    level = np.sqrt((frames**2).mean(1))
    power = np.abs(np.fft.rfft(frames[level >= _LOUD * np.quantile(level, 0.95)])) ** 2
    edges = np.unique(np.geomspace(2, _SIZE // 2, _BANDS + 1).astype(int))
    bands = np.log(np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1) + 1e-9).mean(0)
    return bands - bands.mean()


class Voices:
    """The typical timbre of each voice, from samples (n, bands) and the voice of each (n,)."""

    def __init__(self, samples: np.ndarray, voices: np.ndarray):
        self.names = np.unique(voices)
        self._samples, self._voices = samples, voices
        self._typical = np.stack([samples[voices == name].mean(0) for name in self.names])
        inside = [samples[voices == name].std(0) for name in self.names]
        self._spread = np.mean(inside, axis=0) + 1e-6

    def among(self, names: Collection[str]) -> Voices:
        """These voices alone."""
        chosen = np.isin(self._voices, list(names))
        return Voices(self._samples[chosen], self._voices[chosen])

    def nearest(self, sample: np.ndarray):
        distance = (((sample - self._typical) / self._spread) ** 2).sum(1)
        return self.names[distance.argmin()]


def told_apart(samples: np.ndarray, voices: np.ndarray) -> float:
    """The share of samples whose voice is known from all the others."""
    hits = 0
    for i, sample in enumerate(samples):
        others = np.arange(len(samples)) != i
        hits += Voices(samples[others], voices[others]).nearest(sample) == voices[i]
    return hits / len(samples)
