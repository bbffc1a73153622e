"""A part of a recording: one of its sound tracks, and from where to where in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dsm_mlx.checks import check_number, check_whole
from dsm_mlx.errors import AudioError

MOST_TRACKS = 1000
LONGEST = 1e7  # seconds, which is a third of a year


@dataclass(frozen=True)
class Part:
    """track: which of the sound tracks of a video or of another container, counted from 1. start,
    end: seconds of the file; None: to its end.

    What comes before `start` is decoded and dropped, so that the first sample is the right one in
    any format. Raises TypeError or ValueError that names the argument.
    """

    track: int = 1
    start: float = 0.0
    end: float | None = None

    def __post_init__(self) -> None:
        check_whole("track", self.track, 1, MOST_TRACKS)
        check_number("start", self.start, 0.0, LONGEST)
        if self.end is not None:
            check_number("end", self.end, 0.0, LONGEST)
            if self.end <= self.start:
                raise ValueError(f"end is {self.end:g} (expected more than start, {self.start:g})")

    def duration(self, whole: float | None) -> float | None:
        """The seconds of it, in a recording of `whole` seconds; None: not known."""
        ends = [end for end in (whole, self.end) if end is not None]
        if whole is None or not ends:
            return None
        return max(0.0, min(ends) - self.start)

    def cut(self, blocks: Iterator[np.ndarray], rate: float) -> Iterator[np.ndarray]:
        """Of blocks (samples, channels) at `rate` Hz, those that belong to it."""
        first = round(self.start * rate)
        last = None if self.end is None else round(self.end * rate)
        at = 0
        for block in blocks:
            begin, stop = max(0, first - at), None if last is None else last - at
            at += len(block)
            kept = block[begin:stop]
            if len(kept):
                yield kept
            if last is not None and at >= last:
                return

    def check_only_track(self, name: str) -> None:
        """AudioError, beginning with `name`, where another than the first is asked for."""
        if self.track != 1:
            raise AudioError(f"{name}: {no_track(1, self.track)}")


def no_track(count: int, wanted: int) -> str:
    """What is said where a file has fewer sound tracks than the one that is wanted."""
    if count == 1:
        return f"has one sound track (track is {wanted}, expected 1)"
    return f"has {count} sound tracks (track is {wanted}, expected 1 to {count})"


WHOLE = Part()
"""All of the first track."""
