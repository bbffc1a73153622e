"""How captions are cut and shown, and from where on a word is marked as doubtful."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsm_mlx.checks import is_number
from dsm_mlx.messages import shown

# Below these a word is marked: docs/words.md has how many of such are wrong.
LOW, MEDIUM = 0.7, 0.9


def finite(value: float, what: str, least: float = -math.inf) -> float:
    """A number of any library as Python's own; ValueError, which calls it `what`, for others."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        bound = "" if least == -math.inf else f" from {least} up"
        raise ValueError(f"{what} is {shown(value)} (expected seconds{bound})")
    return number


@dataclass(frozen=True)
class CaptionStyle:
    """How captions are cut. A word longer than a line gets a line of its own.

    A new caption begins after `gap` seconds of silence, after the end of a sentence, when the
    lines are full, and before the caption would last longer than `max_duration` seconds. Each is
    shown for `min_duration` seconds at least (but `max_duration`, if that is less): what ends
    sooner stays until then, a shorter sentence shares its caption with the next, and where words
    come too fast even so, the captions after them are late. A speaker's name before the words
    counts as a part of its line, of `max_chars` characters.

    Raises:
        ValueError: fewer than one character or line, or seconds that are negative or not finite.
    """

    max_chars: int = 42
    max_lines: int = 2
    gap: float = 0.8
    max_duration: float = 7.0
    min_duration: float = 0.8

    def __post_init__(self) -> None:
        for name in ("max_chars", "max_lines"):
            value = getattr(self, name)
            if not is_number(value, int) or value < 1:
                raise ValueError(f"{name} is {shown(value)} (expected an integer from 1 up)")
        for name in ("gap", "max_duration", "min_duration"):
            finite(getattr(self, name), name, least=0)


DEFAULT = CaptionStyle()


def doubt(confidence: float | None) -> str:
    """How doubtful a word of that confidence is: "low", "medium", or "" for one that is not, or of
    which nothing is known."""
    if confidence is None or not confidence < MEDIUM:  # not so for what is no number, either
        return ""
    return "low" if confidence < LOW else "medium"
