"""How long and how fast a stage learns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """steps in all; batch: sessions or pieces a step; learning_rate at its peak.

    adversary: weight of the decoder's adversarial loss; 0 is none. settle: steps that the encoder
    takes before its quantiser starts.
    """

    steps: int
    batch: int
    learning_rate: float
    warm_up: int
    adversary: float = 0.0
    settle: int = 150
    seed: int = 1
