"""How much two voices are alike, by the embedding that the package Resemblyzer ships.

It is the one that brings its weights along (a GE2E encoder of 256 values, 17 MB); it needs PyTorch,
so it is asked for only where figures of voices are wanted, and is part of no extra.
"""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec

import numpy as np

from dsm_mlx.audio import read

_RATE = 16_000  # Hz, that the encoder takes
INSTALL = "pip install Resemblyzer"


def available() -> bool:
    return find_spec("resemblyzer") is not None


class Embedder:
    """The package's encoder. ValueError where it is missing."""

    def __init__(self):
        if not available():
            raise ValueError(f"similarity of voices needs Resemblyzer ({INSTALL})")
        with contextlib.redirect_stdout(io.StringIO()):  # it tells how long it took to load
            from resemblyzer import VoiceEncoder, preprocess_wav

            self._encoder = VoiceEncoder("cpu")
        self._prepared = preprocess_wav

    def __call__(self, pcm: np.ndarray) -> np.ndarray:
        """float32 pcm (samples,) at 24 kHz -> float32 (256,), of length 1."""
        sound = self._prepared(read(pcm, 24_000, target=_RATE))
        return self._encoder.embed_utterance(sound)


class Likeness:
    """Cosine similarity, at most 1, to the voice in float32 pcm (samples,) at 24 kHz."""

    def __init__(self, embed: Embedder, voice: np.ndarray):
        self._embed, self._voice = embed, embed(voice)

    def of(self, pcm: np.ndarray) -> float:
        return float(self._embed(pcm) @ self._voice)
