"""Pauses and ends of turns. Pure Python on a few numbers a frame."""

from __future__ import annotations

import math

import numpy as np

LENGTHS = (0.5, 1.0, 2.0, 3.0)  # seconds of silence that the four heads stand for
_HEAD = 2  # Kyutai's scripts take the 2 s head for the end of a turn
_WARM_UP = 1.0  # seconds in which the heads are not to be trusted
_FIRE, _REARM = 0.5, 0.3
_SURE = 3  # frames in a row: a breath between two words can raise a single one
_FLOOR = 1e-4  # -80 dB: digital silence, whatever the level of the rest
_ABOVE_FLOOR = 4.0  # speech is taken to be 12 dB above the background


class TurnDetector:
    """Tells the end of a turn from pause probabilities, once for each turn.

    It fires when the 2 s probability has been above 0.5 for three frames, after at least one word,
    and not again before it has fallen below 0.3 and another word has come.
    """

    def __init__(self, frame_rate: float):
        self._warm_up = math.ceil(_WARM_UP * frame_rate)
        self._spoken = False
        self._low = True
        self.restart()

    def restart(self) -> None:
        """The model starts afresh: its first probabilities are not to be trusted."""
        self._ignored = self._warm_up
        self._high = 0  # frames in a row

    def word(self) -> None:
        """A word was heard."""
        self._spoken = True

    def push(self, probabilities: dict[float, float]) -> bool:
        """One frame's probabilities -> whether the turn ends here."""
        if self._ignored:
            self._ignored -= 1
            return False
        p = probabilities[LENGTHS[_HEAD]]
        if p < _REARM:
            self._low = True
        self._high = self._high + 1 if p > _FIRE else 0
        if self._high < _SURE or not (self._spoken and self._low):
            return False
        self._spoken = self._low = False
        return True


class EnergyPauses:
    """A stand-in for the heads of models that have none: how long it has been quiet.

    The probability of a pause of n seconds is the share of n that has passed in silence; a frame
    is silent if it is less than 12 dB above the quietest level of late.
    """

    def __init__(self, frame_rate: float):
        self._frame = 1 / frame_rate
        self._quiet = 0.0
        self._background = 1.0

    def push(self, pcm: np.ndarray) -> list[float]:
        """float32 pcm of one frame -> a probability for each of LENGTHS."""
        level = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) if pcm.size else 0.0
        # The background follows a fall at once and a rise slowly (6 dB in about 10 s).
        self._background = max(min(level, self._background * 1.0055), _FLOOR)
        silent = level < _ABOVE_FLOOR * self._background or level < _FLOOR
        self._quiet = self._quiet + self._frame if silent else 0.0
        return [min(1.0, self._quiet / length) for length in LENGTHS]
