"""A piece of speech by one voice, with the times of its words and phones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import soxr

SAMPLE_RATE = 24_000
_BEFORE, _AFTER = 0.05, 0.12  # seconds of silence that trimming leaves


class Word(NamedTuple):
    """A word and when it is spoken, in seconds."""

    text: str
    start: float
    end: float


@dataclass
class Utterance:
    """pcm float32 (samples,) at `sample_rate`; phones: (seconds at which it begins, class)."""

    pcm: np.ndarray
    sample_rate: int
    words: list[Word]
    phones: list[tuple[float, int]]

    @property
    def seconds(self) -> float:
        return self.pcm.size / self.sample_rate

    def trimmed(self) -> Utterance:
        """Without the silence before the first and after the last word."""
        start = max(0.0, self.words[0].start - _BEFORE)
        end = min(self.seconds, self.words[-1].end + _AFTER)
        rate = self.sample_rate
        return Utterance(
            self.pcm[int(start * rate) : int(end * rate)],
            rate,
            [Word(w.text, w.start - start, w.end - start) for w in self.words],
            [(max(0.0, time - start), phone) for time, phone in self.phones if time < end],
        )

    def at_speed(self, speed: float) -> Utterance:
        """At the models' sample rate, played `speed` times as fast: pitch and formants move too."""
        return Utterance(
            soxr.resample(self.pcm, self.sample_rate * speed, SAMPLE_RATE),
            SAMPLE_RATE,
            [Word(w.text, w.start / speed, w.end / speed) for w in self.words],
            [(time / speed, phone) for time, phone in self.phones],
        )


def fill_gaps(times: list[float | None], end: float) -> list[float]:
    """Times that are None, spread evenly between their neighbours; the first must be known."""
    filled: list[float] = []
    for i, time in enumerate(times):
        if time is None:
            last = filled[-1]
            following = next((k for k in range(i, len(times)) if times[k] is not None), len(times))
            until = times[following] if following < len(times) else end
            time = last + (until - last) / (following - i + 1)
        filled.append(time)
    return filled
