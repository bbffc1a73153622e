"""How far the times of words are from those of an alignment.

A heard word is right in time if the same word, after normalising, was said, its start is within
`COLLAR` of that one's start and its end of that one's end; each stands for one word only. F1 is the
harmonic mean of the shares of heard and of said words that are right; IoU, of each word that is
right, the time that both share by the time that one or both take, and mIoU the mean of those. This
is how the published evaluation of CrisperWhisper (arXiv 2408.16589) counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Protocol

from evaluation.figures import matched

COLLAR = 0.2  # seconds


class Spoken(Protocol):
    """A word and the seconds between which it is spoken."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...


@dataclass
class Times:
    """What is known of several recordings.

    said, heard: words. ious: one for each word that is right in time. errors: seconds by which
    starts and ends are off, of all words that are right as words.
    """

    said: int = 0
    heard: int = 0
    ious: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)

    def add(
        self, said: Sequence[Spoken], heard: Sequence[Spoken], normal: Callable[[str], str]
    ) -> None:
        """Count one more recording. normal: makes a word comparable; one that is "" is no word."""
        reference, hypothesis = _words(said, normal), _words(heard, normal)
        self.said += len(reference)
        self.heard += len(hypothesis)
        self.ious += _right(reference, hypothesis)
        texts = ([text for text, _ in words] for words in (reference, hypothesis))
        for i, j in matched(*texts):
            one, other = reference[i][1], hypothesis[j][1]
            self.errors += [abs(one.start - other.start), abs(one.end - other.end)]

    def figures(self) -> dict:
        """mean error in seconds, F1 and mIoU; nothing where no words with times were said."""
        if not self.said:
            return {}
        return {
            "time_error": fmean(self.errors) if self.errors else None,
            "time_f1": 2 * len(self.ious) / (self.said + self.heard),
            "time_miou": fmean(self.ious) if self.ious else None,
        }


def _words(words: Sequence[Spoken], normal: Callable[[str], str]) -> list[tuple[str, Spoken]]:
    pairs = ((normal(word.text), word) for word in words)
    return [(text, word) for text, word in pairs if text]


def _right(said: Sequence[tuple[str, Spoken]], heard: Sequence[tuple[str, Spoken]]) -> list[float]:
    """The IoU of each word that is right in time."""
    free = list(heard)
    found = []
    for text, word in said:
        for place, (other_text, other) in enumerate(free):
            near = max(abs(word.start - other.start), abs(word.end - other.end)) <= COLLAR
            if near and text == other_text:
                found.append(_iou(word, other))
                del free[place]
                break
    return found


def _iou(one: Spoken, other: Spoken) -> float:
    shared = min(one.end, other.end) - max(one.start, other.start)
    taken = max(one.end, other.end) - min(one.start, other.start)
    return max(0.0, shared) / taken if taken > 0 else 1.0
