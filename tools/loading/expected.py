"""What clients must be told, by the library alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx

RATE = 24_000
TEXTS = ("one two three", "Hello there.", "four, five and six")


@dataclass(frozen=True)
class Truth:
    """stt, tts: folders of very small models. sounds: and the words in each, (text, start).
    said: of each text, how many frames and a sum of their samples."""

    stt: Path
    tts: Path
    sounds: list[tuple[np.ndarray, list[tuple[str, float]]]]
    said: dict[str, tuple[int, float]]


def make(folder: Path) -> Truth:
    import small

    mx.set_default_device(mx.cpu)  # as the server's
    stt, tts = (small.checkpoint(name, folder / name) for name in ("stt-tiny", "tts-tiny"))
    random = np.random.default_rng(0)
    sounds = []
    with dsm_mlx.load_stt(stt, dtype="float32") as model:
        for seconds in (0.4, 1.0, 2.5, 4.0):
            pcm = random.normal(0, 0.2, round(seconds * RATE)).astype(np.float32)
            words = model.transcribe(pcm, sample_rate=RATE).words
            sounds.append((pcm, [(word.text, word.start) for word in words]))
    with dsm_mlx.load_tts(tts, dtype="float32") as model:
        said = {text: _said(model, text) for text in TEXTS}
    return Truth(stt, tts, sounds, said)


def _said(model: dsm_mlx.TextToSpeech, text: str) -> tuple[int, float]:
    with model.stream(seed=1) as stream:
        stream.feed(text)
        stream.end()
        return summed([chunk.audio for chunk in stream])


def summed(frames: list[np.ndarray]) -> tuple[int, float]:
    """How many frames, and their samples added up."""
    return len(frames), round(float(np.sum(np.concatenate(frames), dtype=np.float64)), 6)
