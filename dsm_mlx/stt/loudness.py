"""How a frame sounds, as far as its level and its signs tell: what may be speech, and what not."""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from dsm_mlx.audio.meter import decibels

_WINDOW = 38  # frames, three seconds
_ABOVE, _MOVES = 10.0, 2.0  # decibels


class Sounding(NamedTuple):
    """What a frame sounds like.

    decibels: its root mean square. loud: enough for speech. moves: its level differs from the one
    before it. hiss: the share of its samples at which the sign changes, high in an "s".
    """

    decibels: float
    loud: bool
    moves: bool
    hiss: float


class Loudness:
    """Watches one stream, by which speech is told from noise and most music.

    Speech is louder than the quietest frame of the last three seconds, so that steady sound is
    none; it rises and falls all the time, where notes stay or fade; and it is now a vowel and now a
    hiss.

    least: decibels, nothing below them is loud.
    """

    def __init__(self, least: float):
        self._least = least
        self.recent: deque[float] = deque(maxlen=_WINDOW)  # decibels

    def push(self, pcm: np.ndarray) -> Sounding:
        """float32 pcm of one frame; an offset does not count."""
        pcm = pcm - pcm.mean()
        level = decibels(math.sqrt(float(np.dot(pcm, pcm)) / pcm.size))
        moves = bool(self.recent) and abs(level - self.recent[-1]) >= _MOVES
        self.recent.append(level)
        loud = level >= max(self.background + _ABOVE, self._least)
        signs = np.signbit(pcm)
        hiss = np.count_nonzero(signs[1:] != signs[:-1]) / pcm.size if loud else 0.0
        return Sounding(level, loud, moves and loud, hiss)

    @property
    def background(self) -> float:
        """In decibels; once there was a frame."""
        return min(self.recent)
