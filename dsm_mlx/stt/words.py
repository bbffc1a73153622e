"""Text tokens -> words with times, one token a frame. Pure Python on small integers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.results import Word

_WORD_START = "\u2581"  # how SentencePiece marks a leading space
_LONGEST_TAIL = 0.5  # seconds
_LEAST = 1e-30  # probability, to have a logarithm
_LONG_AGO = -(1 << 40)  # frames


def log_of(probability: float) -> float:
    """Its logarithm; of 0 a very small number, too."""
    return math.log(max(probability, _LEAST))


class HeardWord(NamedTuple):
    """A word, its start and end in frames of sound.

    confidence: the geometric mean of the probabilities of its tokens, 0 to 1.
    """

    text: str
    start: int
    end: int
    confidence: float


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
        self.pieces: list[int] = []
        self.logs = 0.0  # of the probabilities of the pieces, added up
        self.start = self.now = 0
        self.first = 0  # where the first piece of the word in progress stands
        self.since = _LONG_AGO  # words that begin before it are a prompt's, and not told

    def push(self, frame: int, token: int, probability: float = 1.0) -> list[HeardWord]:
        """The token of one frame (counted from 0, the priming step left out) -> words it ends.

        probability: that the model gave the token. Raises CheckpointError for one that is no piece.
        """
        self.now = frame + self._shift
        if token in (NEW_WORD, PADDING):
            words = self.finish()
            if token == NEW_WORD:
                self.start = self.now
            return words
        try:
            begins = self._tokenizer.id_to_piece(token).startswith(_WORD_START)
        except IndexError:
            raise CheckpointError(
                f"the model says the token {token}, which its tokenizer does not have (is it that "
                "of another model?)"
            ) from None
        words = self.finish() if begins and self.pieces else []
        if not self.pieces:
            self.first = self.now
        self.pieces.append(token)
        self.logs += log_of(probability)
        return words

    def finish(self) -> list[HeardWord]:
        """The word in progress, if any: it ends here."""
        text = self._text()
        start, count, logs = self.start, len(self.pieces), self.logs
        self.pieces, self.logs = [], 0.0
        if not text:
            return []
        end = max(self.now, start)
        self.start = end
        if self.first < self.since:
            return []
        return [HeardWord(text, start, end, round(math.exp(logs / count), 4))]

    @property
    def partial(self) -> str:
        """The word in progress as far as it is known."""
        return "" if self.first < self.since else self._text()

    def _text(self) -> str:
        return self._tokenizer.decode(self.pieces).strip() if self.pieces else ""

    def plain(self) -> list:
        """All that it knows, as JSON can hold it."""
        times = self.start, self.now, self.first, self.since
        return [list(self.pieces), self.logs, *times]

    def restore(self, values: list, later: int = 0) -> None:
        """What `plain` gave, so many frames later."""
        pieces, self.logs, *times = values
        self.pieces = list(pieces)
        self.start, self.now, self.first, self.since = (time + later for time in times)


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
