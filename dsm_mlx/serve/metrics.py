"""Counting, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dsm_mlx import BusyError

Slot = TypeVar("Slot")

STEPS = (10, 100, 1_000, 10_000, 100_000)


@dataclass
class Histogram:
    """How often a value was at most so large.

    bounds: rising. counts: of values up to each of them and above the one
    before it; the last: above all. total: the sum of the values.
    """

    bounds: Sequence[float] = STEPS
    counts: list[int] = field(init=False)
    total: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[sum(value > bound for bound in self.bounds)] += 1
        self.total += value


@dataclass
class Wing:
    """What is counted of listeners, or of speakers."""

    connections: int = 0
    refused: int = 0
    steps: Histogram = field(default_factory=Histogram)

    def counted(self, take: Callable[[], Slot]) -> Slot:
        """The slot that `take` gives; BusyError where there is none, which is counted, too."""
        try:
            slot = take()
        except BusyError:
            self.refused += 1
            raise
        self.connections += 1
        return slot


@dataclass
class Metrics:
    """What is counted while the server runs."""

    stt: Wing = field(default_factory=Wing)
    tts: Wing = field(default_factory=Wing)


def value(name: str, kind: str, help: str, number: float) -> Iterable[str]:
    """A counter or a gauge."""
    return (*_head(name, kind, help), f"{name} {number}")


def summary(name: str, help: str, count: int, total: float) -> Iterable[str]:
    """A sum of so many values."""
    return (*_head(name, "summary", help), f"{name}_sum {total}", f"{name}_count {count}")


def histogram(name: str, help: str, counted: Histogram) -> Iterable[str]:
    """How many values were at most as large as each bound."""
    yield from _head(name, "histogram", help)
    so_far = 0
    for bound, count in zip((*counted.bounds, "+Inf"), counted.counts, strict=True):
        so_far += count
        yield f'{name}_bucket{{le="{bound}"}} {so_far}'
    yield f"{name}_sum {counted.total}"
    yield f"{name}_count {so_far}"


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"
