"""How a captions window may look. Colours as Tk takes them: #rrggbb."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """title: as a menu calls it.

    paper, ink: of what was said. soft: of what goes beside it, and of what is not settled. bar,
    edge: of the controls, and of what can be pressed. accent, on_accent: of what is meant to be
    seen first, and of text on it. chip: of what lies behind bars. warn: of what went wrong.
    """

    title: str
    paper: str
    ink: str
    soft: str
    bar: str
    edge: str
    accent: str
    on_accent: str
    chip: str
    warn: str


LOOKS = {
    "dark": Look(
        "Light on dark",
        paper="#16161a",
        ink="#f0eee8",
        soft="#a9a59c",
        bar="#1f1f24",
        edge="#75736f",
        accent="#a3bcf5",
        on_accent="#10182c",
        chip="#2c2c33",
        warn="#ffb27a",
    ),
    "light": Look(
        "Dark on light",
        paper="#fffefb",
        ink="#1d1c1a",
        soft="#625d55",
        bar="#f4f1ea",
        edge="#857e72",
        accent="#2b4f9e",
        on_accent="#ffffff",
        chip="#ebe6dc",
        warn="#8a3b00",
    ),
    "high": Look(
        "High contrast",
        paper="#000000",
        ink="#ffffff",
        soft="#ffe600",
        bar="#000000",
        edge="#ffffff",
        accent="#ffe600",
        on_accent="#000000",
        chip="#333333",
        warn="#ffe600",
    ),
}

SIZES = (10, 12, 14, 17, 20, 24, 29, 35, 42, 50, 60, 72)
"""Of the text, in points."""
SIZE = 20


def larger(size: int, steps: int = 1) -> int:
    """The size that is so many steps above this one, or below it; the last there is at the end."""
    nearest = min(range(len(SIZES)), key=lambda i: abs(SIZES[i] - size))
    return SIZES[min(max(nearest + steps, 0), len(SIZES) - 1)]
