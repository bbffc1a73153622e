"""A written word, and what is said for it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from dsm_mlx.tts.text.folding import fold

LONGEST = 200
"""Characters of a word; what is longer is said as it stands."""

_PARTS = re.compile(r"""([(\[{"'“\u2018«¿¡]*)(.*?)([.,;:!?…)\]}"'”\u2019»]*)""", re.DOTALL)
_WITHIN = "'\u2019-\u0300\u0301"  # of a word of letters


class Said(NamedTuple):
    """words: what is said for `written`; None: what is written."""

    written: str
    words: str | None


@dataclass(frozen=True)
class Written:
    """A word as it is written, without the marks of Markdown. Made by `word_of`.

    text: it with its letters folded. lead, core, tail: quotes and brackets before it, the word,
    and punctuation after it. plain: the core is letters alone, with apostrophes and hyphens.
    """

    written: str
    text: str
    lead: str
    core: str
    tail: str
    plain: bool

    @property
    def is_long(self) -> bool:
        return len(self.written) > LONGEST

    def as_it_stands(self) -> Said:
        """Said as it is written, with its letters folded."""
        return Said(self.written, None if self.text == self.written else self.text)

    def said(self, words: str, tail: str | None = None) -> Said:
        """`words` for its core. tail: the punctuation after it, if it is not its own."""
        return Said(self.written, self.lead + words + (self.tail if tail is None else tail))


@lru_cache(maxsize=4096)
def word_of(written: str) -> Written:
    """A word, taken apart."""
    text = fold(written)
    lead, core, tail = "", text, ""
    if len(text) <= LONGEST and (parts := _PARTS.fullmatch(text)):
        lead, core, tail = parts.groups()
    plain = all(ch.isalpha() or ch in _WITHIN for ch in core)
    return Written(written, text, lead, core, tail, plain)
