"""Pauses and ends of turns. Pure Python on a few numbers a frame."""

from __future__ import annotations

import math

import numpy as np

from dsm_mlx.options import PAUSE_SECONDS as LENGTHS
from dsm_mlx.options import TurnPolicy

_WARM_UP = 1.0  # seconds in which the heads are not to be trusted
_FLOOR = 1e-4  # -80 dB: digital silence, whatever the level of the rest
_ABOVE_FLOOR = 4.0  # speech is taken to be 12 dB above the background


class TurnDetector:
    """Tells the end of a turn from pause probabilities, once for each turn; see `TurnPolicy`.

    Kyutai's scripts take the 2 s head above 0.5; frames in a row, because a breath between two
    words can raise a single one.
    """

    def __init__(self, frame_rate: float, policy: TurnPolicy):
        self._policy = policy
        self._warm_up = math.ceil(_WARM_UP * frame_rate)
        self.spoken = False
        self.low = True
        self.restart()

    def restart(self) -> None:
        """The model starts afresh: its first probabilities are not to be trusted."""
        self.ignored = self._warm_up
        self.high = 0  # frames in a row

    def word(self) -> None:
        """A word was heard."""
        self.spoken = True

    def push(self, probabilities: dict[float, float]) -> bool:
        """One frame's probabilities -> whether the turn ends here."""
        if self.ignored:
            self.ignored -= 1
            return False
        policy = self._policy
        p = probabilities.get(policy.pause, 0.0)
        if p < policy.rearm:
            self.low = True
        self.high = self.high + 1 if p > policy.threshold else 0
        if self.high < policy.frames or not (self.spoken and self.low):
            return False
        self.spoken = self.low = False
        return True


class EnergyPauses:
    """A stand-in for the heads of models that have none: how long it has been quiet.

    The probability of a pause of n seconds is the share of n that has passed in silence; a frame
    is silent if it is less than 12 dB above the quietest level of late.
    """

    def __init__(self, frame_rate: float):
        self._frame = 1 / frame_rate
        self.quiet = 0.0
        self.background = 1.0

    def push(self, pcm: np.ndarray) -> list[float]:
        """float32 pcm of one frame -> a probability for each of LENGTHS."""
        level = float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) if pcm.size else 0.0
        # The background follows a fall at once and a rise slowly (6 dB in about 10 s).
        self.background = max(min(level, self.background * 1.0055), _FLOOR)
        silent = level < _ABOVE_FLOOR * self.background or level < _FLOOR
        self.quiet = self.quiet + self._frame if silent else 0.0
        return [min(1.0, self.quiet / length) for length in LENGTHS]
