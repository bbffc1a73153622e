"""How long the pauses are that lines and paragraphs make, and when there is one."""

from __future__ import annotations

LINE = 0.32
"""Seconds after a line that ends a sentence, a heading or an item."""

PARAGRAPH = 0.8
"""Seconds for a blank line."""

CELL = 0.24
"""Seconds between the cells of a table, and for a dash that stands alone."""

_TERMINAL = ".!?…:。\uff01\uff1f"
_CLOSING = ")]}\"'”\u2019»*_`~"


def ends_sentence(word: str) -> bool:
    """Whether a word ends what a pause follows, if its line ends with it."""
    return word.rstrip(_CLOSING).endswith(tuple(_TERMINAL))


def before_line(newlines: int, *, sentence_ended: bool, starts_block: bool) -> float:
    """Seconds of pause before a word after so many ends of lines: none for prose that is wrapped.

    starts_block: a heading, an item or the row of a table begins, or a heading has ended.
    """
    if newlines > 1:
        return PARAGRAPH
    return LINE if newlines and (sentence_ended or starts_block) else 0.0
