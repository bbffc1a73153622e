"""What comes out: plain values, free of models and devices. All times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np


@dataclass(frozen=True)
class Word:
    """A word and the span of audio in which it is spoken."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Pause:
    """How likely it is, at `time`, that nobody speaks for 0.5, 1, 2 and 3 seconds.

    `probabilities` maps the length of the silence in seconds to a value between 0 and 1.
    """

    time: float
    probabilities: dict[float, float]


@dataclass(frozen=True)
class EndOfTurn:
    """The speaker has finished: `time` is when that became clear."""

    time: float


Event = Word | Pause | EndOfTurn


@dataclass(frozen=True)
class Transcript:
    """The result of `SpeechToText.transcribe`."""

    text: str
    words: list[Word] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    turns: list[EndOfTurn] = field(default_factory=list)
    duration: float = 0.0


@dataclass(frozen=True)
class Chunk:
    """A piece of speech: float32 `audio` of shape (samples,) and the words that begin in it."""

    audio: np.ndarray
    words: list[Word] = field(default_factory=list)


@dataclass(frozen=True)
class Speech:
    """The result of `TextToSpeech.synthesize`: float32 `audio` of shape (samples,), its words."""

    audio: np.ndarray
    sample_rate: int
    words: list[Word] = field(default_factory=list)

    def save(self, path: str | PathLike) -> None:
        """Write a 16-bit mono WAV file. AudioError where that cannot be."""
        from dsm_mlx.audio import WavWriter

        with WavWriter(path, self.sample_rate) as file:
            file.write(self.audio)
