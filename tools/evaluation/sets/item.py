"""A recording of an evaluation set: its sound, and what is said in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsm_mlx.audio import read
from dsm_mlx.errors import AudioError

RATE = 24_000  # Hz, of all sound here
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".opus", ".sph", ".g722")


class Timed(NamedTuple):
    """A word that is said, and the seconds of its recording between which it is."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Item:
    """One text, and its sound.

    sound: a file, or float32 (samples,) at 24 kHz; None: there is none, the text is to be said.
    part: seconds of the file between which it lies; None: all of it. words: with their times,
    where they are known.
    """

    name: str
    text: str
    sound: Path | np.ndarray | None = None
    part: tuple[float, float] | None = None
    words: tuple[Timed, ...] = ()

    def pcm(self) -> np.ndarray:
        """float32 (samples,) at 24 kHz. AudioError, naming the file, where it cannot be read."""
        pcm = self.sound if isinstance(self.sound, np.ndarray) else _read(self.sound)
        if self.part is None:
            return pcm
        start, end = (round(seconds * RATE) for seconds in self.part)
        if start >= len(pcm):
            raise AudioError(
                f"{self.name}: begins at {self.part[0]:g} s of {self.sound}, which has "
                f"{len(pcm) / RATE:g} s"
            )
        return pcm[start:end]


@lru_cache(maxsize=2)  # the parts of a long file are heard one after the other
def _read(path: Path) -> np.ndarray:
    return read(path, target=RATE)


@dataclass(frozen=True)
class Set:
    """Recordings with their texts, in one language (two letters).

    note: what of it was left out, in words, or "".
    """

    name: str
    items: Sequence[Item] = field(repr=False)
    language: str = "en"
    note: str = ""

    def spread(self, count: int | None) -> Set:
        """At most so many of its recordings, from its beginning to its end."""
        if count is None or count >= len(self.items):
            return self
        kept = [self.items[i * len(self.items) // count] for i in range(count)]
        notes = f"{count} of {len(self.items)} recordings", self.note
        return replace(self, items=kept, note="; ".join(filter(None, notes)))


def beside(stem: Path, *folders: Path) -> Path | None:
    """The sound file of this name, in its own folder or in one of others."""
    places = [folder / stem.name for folder in (stem.parent, *folders)]
    paths = (place.with_name(place.name + suffix) for place in places for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)
