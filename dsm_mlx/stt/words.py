"""Text tokens -> words with times, one token a frame. Pure Python on small integers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.results import Word

_WORD_START = "\u2581"  # how SentencePiece marks a leading space
_LONGEST_TAIL = 0.5  # seconds


class HeardWord(NamedTuple):
    """A word, its start and end in frames of sound."""

    text: str
    start: int
    end: int


class WordReader:
    """Collects the text tokens of one stream into words.

    A word's tokens follow a boundary token, which lies `2 - delay` frames off the sound it stands
    for (moshi-server's clock). It is complete when a boundary, padding or the first piece of
    another word follows; a word without a boundary of its own starts where the last one ended.
    """

    def __init__(self, tokenizer, delay: int):
        """tokenizer: a SentencePieceProcessor. delay: of the text, in frames."""
        self._tokenizer = tokenizer
        self._shift = 2 - delay
        self._pieces: list[int] = []
        self._start = self._now = 0

    def push(self, frame: int, token: int) -> list[HeardWord]:
        """The token of one frame (counted from 0, the priming step left out) -> words it ends."""
        self._now = frame + self._shift
        if token in (NEW_WORD, PADDING):
            words = self.finish()
            if token == NEW_WORD:
                self._start = self._now
            return words
        begins = self._tokenizer.id_to_piece(token).startswith(_WORD_START)
        words = self.finish() if begins and self._pieces else []
        self._pieces.append(token)
        return words

    def finish(self) -> list[HeardWord]:
        """The word in progress, if any: it ends here."""
        text = self._tokenizer.decode(self._pieces).strip() if self._pieces else ""
        start, self._pieces = self._start, []
        if not text:
            return []
        end = max(self._now, start)
        self._start = end
        return [HeardWord(text, start, end)]

    @property
    def partial(self) -> str:
        """The word in progress as far as it is known."""
        return self._tokenizer.decode(self._pieces).strip() if self._pieces else ""


def settle_ends(words: Iterable[Word]) -> list[Word]:
    """Extend each word to the start of the next, unless a pause lies between.

    Live, a word is given out when its last piece has come, which is often before its sound ends.
    Afterwards the next word's boundary tells the end better (the reference's rule), but across a
    pause the word would grow into the silence.
    """
    settled = list(words)
    for i, (word, following) in enumerate(pairwise(settled)):
        if following.start - word.end <= _LONGEST_TAIL:
            settled[i] = replace(word, end=max(word.end, following.start))
    return settled
