"""How the commands read a text aloud, as far as this machine can."""

from __future__ import annotations

from dsm_mlx.messages import say
from dsm_mlx.tts.text.rules import NEEDS, WithoutNumbers, as_far_as_it_can, numbers_can_be_said


def told_normalize(normalize: str, text: str | None = None) -> str | WithoutNumbers:
    """`normalize`, without numbers where their names are not known, which is told if `text` has
    any. None: the text is yet to come."""
    if not numbers_can_be_said() and (text is None or any(map(str.isdigit, text))):
        say(f"numbers are read as they stand: to say them needs {NEEDS}")
    return as_far_as_it_can(normalize)
