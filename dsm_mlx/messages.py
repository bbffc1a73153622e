"""Lines for people: how values and names stand in an error, never longer than they are worth."""

from __future__ import annotations

import os
import reprlib
import sys
from contextlib import suppress

_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother, _BRIEF.maxlong = 3, 80, 80, 40


def say(line: str) -> None:
    """A line on stderr, whole whenever a signal comes. That nobody can read it changes nothing."""
    with suppress(OSError, ValueError):
        print(f"{line}\n", end="", file=sys.stderr, flush=True)


def shown(value: object, most: int = 80) -> str:
    """A value as Python writes it, in one line of at most `most` characters.

    Cheap for values of any size: what is not shown is not written out either.
    """
    try:
        text = _BRIEF.repr(value)
    except Exception:  # such as an integer of more digits than Python is willing to write
        text = f"a value of type {type(value).__name__}"
    return cut(text, most)


def named(path: str | bytes | os.PathLike) -> str:
    """A path or the name of a stream, without quotes, short enough for a line."""
    return cut(os.fsdecode(path), 200)


def reason(error: BaseException) -> str:
    """What an error from a library says, in a line."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return cut(text, 200)


def listed(problems: list[str], most: int = 180) -> str:
    """As many as fit on a line of `most` characters, the first always, and how many more there
    are."""
    count = 1
    while count < len(problems) and len("; ".join(problems[: count + 1])) <= most:
        count += 1
    more = f"; and {len(problems) - count} more" if count < len(problems) else ""
    return "; ".join(problems[:count]) + more


def cut(text: str, most: int) -> str:
    """`text` in one line of at most `most` characters; the middle of a longer one goes."""
    if len(text) > 2 * most:
        text = text[:most] + text[-most:]
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    if len(line) <= most:
        return line
    end = (most - 3) // 2
    return f"{line[: most - 3 - end]}...{line[len(line) - end :]}"
