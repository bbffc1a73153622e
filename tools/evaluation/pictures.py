"""Curves as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Okabe and Ito's colours, which people who see few colours can tell apart; and markers, for print.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH, _HEIGHT, _DPI = 6.4, 4.2, 150
_SHIFT = 0.15  # of the places that stand in an order
_TICKS = 12  # that there is room for


class Line(NamedTuple):
    """Points of one line: where they lie, None where they stand in their order; heights; and
    labels, which are written where they stand in their order. A height that is None is left out."""

    name: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    labels: Sequence[str]


class Panel(NamedTuple):
    """A picture, or a part of one: its lines, and what its height is."""

    title: str
    lines: Sequence[Line]


def draw(path: Path, title: str, axis: str, panels: Sequence[Panel]) -> None:
    """Write panels beside each other, whose lines lie on the same axis, in the kind of picture that
    `path` ends with."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH * len(panels), _HEIGHT), layout="constrained")
    figure.suptitle(title, fontsize=11)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, line in enumerate(panel.lines):
            _line(axes, number, line)
        axes.set_xlabel(axis)
        axes.set_ylabel(panel.title)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if len(panel.lines) > 1:
            axes.legend(frameon=False)
    figure.savefig(path, dpi=_DPI)


def _line(axes, number: int, line: Line) -> None:
    ordered = None in line.x
    x = list(range(len(line.y))) if ordered else line.x
    # What stands in an order has no values in between, and equal ones lie beside each other.
    shift = number * _SHIFT if ordered else 0.0
    pairs = [(a + shift, b) for a, b in zip(x, line.y, strict=True) if b is not None]
    axes.plot(
        *zip(*pairs, strict=True),
        linestyle="" if ordered else "-",
        color=_COLOURS[number % len(_COLOURS)],
        marker=_MARKERS[number % len(_MARKERS)],
        label=line.name,
    )
    if ordered:
        axes.set_xticks(x, line.labels, rotation=20, ha="right")
    elif len(x) <= _TICKS:
        axes.set_xticks(x, [f"{value:g}" for value in x])
