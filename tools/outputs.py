"""Files that a tool will write: checked before it works for an hour, written when all is told."""

from __future__ import annotations

import os
from pathlib import Path

from dsm_mlx.files.text import save

__all__ = ["check", "check_plot", "save"]


def check(path: str | os.PathLike, flag: str) -> None:
    """ValueError unless a file can be written there; nothing is made.

    flag: what asked for the file, such as "--json".
    """
    path = Path(path)
    try:
        problem = _problem(path)
    except (OSError, ValueError) as error:  # a name that is too long, or holds a NUL
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        raise ValueError(f"{flag} {path}: cannot be written ({problem})")


def _problem(path: Path) -> str | None:
    try:
        path.stat()
    except FileNotFoundError:
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
        return None if os.access(path.parent, os.W_OK | os.X_OK) else "its folder is read-only"
    if path.is_dir():
        return "it is a folder"
    return None if os.access(path, os.W_OK) else "it is read-only"


def check_plot(path: str | os.PathLike, flag: str) -> Path:
    """The same for a picture by matplotlib, which must be there and know pictures of that kind.

    Returns the picture's name, with ".png" if `path` says no kind.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(f"{flag} needs matplotlib (pip install matplotlib)") from None
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + ".png")
    check(path, flag)
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ValueError(f"{flag} {path}: is no kind of picture (expected {', '.join(known)})")
    return path
