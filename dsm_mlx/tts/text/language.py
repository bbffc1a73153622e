"""In which language a text is, as far as it has come: for numbers in a text of either."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

KNOWN = ("en", "fr")

_WORDS = {
    "en": """the of and to is in it that was he she for with his her they at be this have from
        had by but what we can there are your you will would which their my do about if when who
        then them these some has more no its so costs between january february march
        april june july august october november december""",
    "fr": """le la les de des du et un une est pas je vous nous ils elles dans que qui pour sur avec
        au aux ce cette ces son sa ses mais ou où il elle se ne par en leur mon ma mes être
        avoir été sont c'est il y à très bien fait tout entre euros janvier février mars avril mai
        juin juillet août septembre octobre novembre décembre chez""",
}
_SETS = {code: frozenset(words.split()) for code, words in _WORDS.items()}
_ELIDED = re.compile(r"(?:[cdjlmnst]|qu)['\u2019].", re.IGNORECASE)
_CONTRACTED = re.compile(r".['\u2019](?:s|t|re|ve|ll|d|m)", re.IGNORECASE)
_FORMS = {
    "en": re.compile(r"[$£]\d.*|\d+(?:st|nd|rd|th)|\d+(?:am|pm)|\d{1,3}(?:,\d{3})+\.\d+"),
    "fr": re.compile(r"\d+(?:er|re|ère|e|ème)|\d+h\d*|\d+(?:[,.]\d+)?[kM]?€|n°\d*|\d+[kMG]o"),
}
_MOST = 3.0


@dataclass
class Guess:
    """Which of two languages the words so far are in.

    A word of which only one language makes use, such as "the" or "les", speaks for it with 1;
    an elision (l'eau), a contraction (it's) and letters that only French has count too. What is
    known is kept between -3 (French) and 3 (English), and halved at the end of a sentence, so that
    four words of another language turn it whatever came before.
    """

    score: float = 0.0

    def hear(self, word: str, core: str) -> None:
        """The next word: as it is written, and without the punctuation around it."""
        self.score = max(-_MOST, min(_MOST, self.score + _evidence(core)))
        if word.endswith((".", "!", "?", "…")):
            self.score /= 2

    @property
    def language(self) -> str | None:
        """None as long as nothing speaks for either."""
        return None if not self.score else "en" if self.score > 0 else "fr"


@lru_cache(maxsize=4096)
def _evidence(core: str) -> float:
    lower = core.lower()
    english, french = (lower in _SETS[code] for code in KNOWN)
    if english != french:
        return 1.0 if english else -1.0
    if _FORMS["en"].fullmatch(lower):
        return 1.0
    if _FORMS["fr"].fullmatch(core):
        return -1.0
    if _ELIDED.match(core) or any(ch in "éèêëàâùûçœîïô" for ch in lower):
        return -1.0
    return 1.0 if _CONTRACTED.search(core[-4:]) else 0.0
