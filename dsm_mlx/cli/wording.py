"""How the commands read a text aloud, as far as this machine can."""

from __future__ import annotations

from dsm_mlx.messages import say
from dsm_mlx.tts.text.rules import NEEDS, WithoutNumbers, as_far_as_it_can, numbers_can_be_said


def told_normalize(normalize: str) -> str | WithoutNumbers:
    """`normalize`, without numbers where their names are not known, which is told."""
    if not numbers_can_be_said():
        say(f"numbers are read as they stand: to say them needs {NEEDS}")
    return as_far_as_it_can(normalize)
