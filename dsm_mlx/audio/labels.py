"""How values and names stand in an error: on one line, cut to what a line holds."""

from __future__ import annotations

import os
from typing import Any

VALUE, NAME = 60, 200  # signs


def short(value: Any) -> str:
    """A value that was given for an argument; of what may be large only the type."""
    plain = isinstance(value, (str, bytes, int, float))
    try:
        text = repr(value[:VALUE] if isinstance(value, (str, bytes)) else value) if plain else ""
    except ValueError:  # an int of more digits than Python writes out
        text = ""
    return _cut(text or f"a value of type {type(value).__name__}", VALUE)


def label(name: str | os.PathLike) -> str:
    """The name of a file or stream; what cannot be shown in it is escaped."""
    return _cut(_printable(os.fsdecode(name)), NAME)


def reason(error: BaseException) -> str:
    """What an error from a library says, in a line."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return _cut(_printable(text), NAME)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _cut(text: str, length: int) -> str:
    """Without its middle where it is too long: both ends of a path tell something."""
    if len(text) <= length:
        return text
    return f"{text[: length // 2 - 2]} … {text[len(text) - length // 2 + 1 :]}"
