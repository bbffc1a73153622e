"""Recordings with their texts, as people have them: a name or a path to an evaluation set."""

from __future__ import annotations

from pathlib import Path

from evaluation.sets import asterisk, layouts, made
from evaluation.sets.item import Item, Set, Timed

__all__ = ["NAMES", "Item", "Set", "Timed", "find"]

NAMES = ("asterisk-en", "asterisk-fr", "talks")


def find(name: str, root: Path = Path("/")) -> Set:
    """The set of this name, or the one at this path; a path that is there wins.

    root: below which Debian's packages lie. ValueError, AudioError or OSError, naming the file and
    the line, for what cannot be used.
    """
    path = Path(name)
    if path.exists():
        return layouts.find(path)
    if name == "talks":
        return made.talks()
    if name in NAMES:
        return asterisk.find(name.removeprefix("asterisk-"), root)
    known = ", ".join(NAMES)
    raise ValueError(f"{name}: no such file or folder, and no set of that name (there are {known})")
