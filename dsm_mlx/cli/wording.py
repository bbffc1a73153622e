"""How the commands read a text aloud, as far as this machine can."""

from __future__ import annotations

from dsm_mlx.messages import say
from dsm_mlx.tts.text.rules import NEEDS, WithoutNumbers, as_far_as_it_can, numbers_can_be_said


def told_normalize(normalize: str, text: str | None = None) -> str | WithoutNumbers:
    """`normalize`, without numbers where their names are not known, which is told if `text` has
    any. None: the text is yet to come, and may have."""
    tell_of_numbers("0" if text is None else text)
    return as_far_as_it_can(normalize)


def tell_of_numbers(text: str) -> bool:
    """Whether `text` has numbers whose names are not known; then it is told."""
    if numbers_can_be_said() or not any(map(str.isdigit, text)):
        return False
    say(f"numbers are read as they stand: to say them needs {NEEDS}")
    return True
