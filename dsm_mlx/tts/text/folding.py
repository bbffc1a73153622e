"""Letters of other widths and shapes to plain ones, where nothing is lost."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_SAFE = ("<wide>", "<narrow>", "<font>", "<circle>", "<square>", "<sub>")


def fold(word: str) -> str:
    """A word with its full-width letters, ligatures, mathematical letters, numbers in circles,
    units in one sign and subscripts as plain characters, as NFKC has them, and with the figures of
    other scripts as 0 to 9.

    Accents stay. So do superscripts, since 10² is not 102, and signs such as … and ™. A fraction
    in one sign becomes digits and a stroke, with a space after a digit.
    """
    if word.isascii():
        return word
    folded = ""
    for ch in word:
        plain = _plain(ch)
        if "/" in plain and plain != ch and folded[-1:].isdecimal():
            folded += " "
        folded += plain
    return folded


@lru_cache(maxsize=4096)
def _plain(ch: str) -> str:
    if unicodedata.category(ch) == "Nd":  # of another script
        return str(unicodedata.decimal(ch))
    kind, _, _ = unicodedata.decomposition(ch).partition(" ")
    if not kind.startswith("<"):
        return ch
    plain = unicodedata.normalize("NFKC", ch)
    if kind == "<fraction>":
        return plain.replace("\u2044", "/")
    if ch == "\u2011":  # a hyphen at which no line ends
        return "-"
    if kind in _SAFE or (kind == "<compat>" and (plain.isalnum() or plain.startswith("°"))):
        return plain.replace("\u2044", "/").replace("\u2215", "/")
    return ch
