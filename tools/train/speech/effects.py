"""What happens to speech on its way: tone, echo, noise, tones of music, level."""

from __future__ import annotations

import numpy as np

from speech.utterance import SAMPLE_RATE


def tilt(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """More or less treble: a first-order shelf at a random frequency, by up to 6 dB."""
    corner, gain = rng.uniform(200, 4000), 10 ** (rng.uniform(-6, 6) / 20)
    return _filtered(pcm, lambda f: (1 + gain * 1j * f / corner) / (1 + 1j * f / corner))


def echo(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small room: exponentially decaying noise after the direct sound."""
    samples = int(rng.uniform(0.05, 0.25) * SAMPLE_RATE)
    tail = rng.standard_normal(samples) * np.exp(-6 * np.arange(samples) / samples)
    tail *= rng.uniform(0.1, 0.35) / np.sqrt((tail**2).sum())
    tail[0] = 1
    size = 1 << (pcm.size + samples).bit_length()  # other lengths take ten times as long
    return np.fft.irfft(np.fft.rfft(pcm, size) * np.fft.rfft(tail, size), size)[: pcm.size]


def noise(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Hiss or a rumble, with a root mean square of 1."""
    made = rng.standard_normal(samples)
    if rng.random() < 0.6:
        corner = rng.uniform(100, 3000)
        made = _filtered(made, lambda f: 1 / (1 + 1j * f / corner))
    return made / np.sqrt((made**2).mean())


def tones(samples: int, rng: np.random.Generator) -> np.ndarray:
    """Something like music: chords of decaying notes, with a root mean square of 1."""
    made = np.zeros(samples)
    start = 0
    while start < samples:
        length = int(rng.uniform(0.15, 1.2) * SAMPLE_RATE)
        time = np.arange(min(length, samples - start)) / SAMPLE_RATE
        for _ in range(rng.integers(1, 5)):
            pitch = 110 * 2 ** (rng.integers(0, 37) / 12)
            for harmonic in range(1, rng.integers(2, 7)):
                phase = rng.uniform(0, 2 * np.pi)
                note = np.sin(2 * np.pi * harmonic * pitch * time + phase) / harmonic
                made[start : start + time.size] += note * np.exp(-time * rng.uniform(0.5, 5))
        start += length if rng.random() < 0.8 else 2 * length
    return made / (np.sqrt((made**2).mean()) + 1e-9)


def at_random(pcm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a recording may have gone through; most are left nearly as they are."""
    if rng.random() < 0.5:
        pcm = tilt(pcm, rng)
    if rng.random() < 0.15:
        pcm = echo(pcm, rng)
    level = np.sqrt((pcm**2).mean())
    if rng.random() < 0.6:
        pcm = pcm + noise(pcm.size, rng) * level * 10 ** (-rng.uniform(22, 60) / 20)
    if rng.random() < 0.04:
        pcm = pcm + tones(pcm.size, rng) * level * 10 ** (-rng.uniform(15, 40) / 20)
    if rng.random() < 0.15:
        pcm = pcm * _swell(pcm.size, rng)
    return pcm


def _swell(samples: int, rng: np.random.Generator) -> np.ndarray:
    """A level that wanders by up to 8 dB either way within the recording."""
    points = rng.uniform(-8, 8, 5)
    decibels = np.interp(np.arange(samples), np.linspace(0, samples, 5), points)
    return 10 ** (decibels / 20)


def _filtered(pcm: np.ndarray, response) -> np.ndarray:
    frequencies = np.fft.rfftfreq(pcm.size, 1 / SAMPLE_RATE)
    return np.fft.irfft(np.fft.rfft(pcm) * response(frequencies), pcm.size)
