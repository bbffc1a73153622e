"""Words said and words heard: how many are wrong, and how late they begin."""

from __future__ import annotations

from typing import NamedTuple

from evaluation.figures import word_errors
from learn.labels import FRAME_RATE
from speech.sessions import LAST_WORD, SECONDS
from speech.text import words_of

_NEAR = 0.5  # seconds within which a heard word may stand for a spoken one


class Wrong(NamedTuple):
    """Words wrong of words spoken. what: which words, for people to read."""

    wrong: int
    spoken: int
    what: str = "words"

    def __str__(self) -> str:
        return f"{self.wrong / self.spoken:.1%} ({self.wrong} of {self.spoken} {self.what})"


def wrong_words(spoken: list[str], heard: list[str], what: str = "words") -> Wrong:
    pairs = [
        word_errors(*(" ".join(words_of(text)) for text in pair))
        for pair in zip(spoken, heard, strict=True)
    ]
    return Wrong(*(sum(column) for column in zip(*pairs, strict=True)), what)


def texts_of(heard: list) -> list[str]:
    return [result.text for result in heard]


def whole_words(words: list, result) -> tuple[str, str]:
    """What was spoken in a session and what was heard, up to the word that its end cuts off."""
    cut = min((word.start for word in words if word.end > SECONDS), default=LAST_WORD)
    known = cut - 1 / FRAME_RATE  # what is heard may be a frame early
    return tuple(
        " ".join(word.text for word in part if word.start < limit)
        for part, limit in ((words, cut), (result.words, known))
    )


def late_starts(spoken: list, heard: list) -> list[float]:
    """Seconds by which words that were heard rightly start too late."""
    late = []
    for words, result in zip(spoken, heard, strict=True):
        for word in result.words:
            same = [word.start - other.start for other in words if other.text == word.text]
            nearest = min(same, key=abs, default=_NEAR)
            if abs(nearest) < _NEAR:
                late.append(nearest)
    return late
