"""A phrase that was begun only because it is preferred: in doubt until it is whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.stt.words import HeardWord

_PATIENCE = 1.5  # seconds without another piece of it


@dataclass
class Trial:
    """All that a row has to go back to, and what it has heard and said since.

    state: of the row before `frame`, in which the phrase began. words, steering: what `plain` of
    the `WordReader` and the `Steering` gave then. frames: of sound since, float32 (frame_size,).
    held: words since, which nobody has been told.
    """

    state: Any
    frame: int
    words: list
    steering: list
    frames: list[np.ndarray] = field(default_factory=list)
    held: list[HeardWord] = field(default_factory=list)
    waits: int = 0

    def push(self, pcm: np.ndarray, token: int, heard: list[HeardWord]) -> None:
        """One more frame, what was said in it, and the words that this ended."""
        self.frames.append(pcm)
        self.held += heard
        self.waits = self.waits + 1 if token in (NEW_WORD, PADDING) else 0

    def is_too_long(self, frame_rate: float) -> bool:
        """Whether nothing of the phrase has come for too long."""
        return self.waits > _PATIENCE * frame_rate
