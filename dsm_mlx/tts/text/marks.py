"""The marks of Markdown in one word, and what a word means at the start of a line."""

from __future__ import annotations

import html
import re

_MARKED = re.compile(r"[*_`~\[\]\\&<]")
_ADDRESS = re.compile(r"://|^\W*www\.|@\w")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_STAR = re.compile(r"\*\*+|(?<![0-9])\*|\*(?![0-9])")
_EDGE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")

FENCE = re.compile(r"(`{3,}|~{3,})[^`]*")
HEADING = re.compile(r"#{1,6}")
RULE = re.compile(r"-{3,}|\*{3,}|_{3,}|={2,}")
COLUMN = re.compile(r":?-+:?")
NUMBERED = re.compile(r"([0-9]{1,3})[.)]")
DEFINITION = re.compile(r"\[[^\]]+\]:")
ITEMS = frozenset("-*+•◦▪‣\u2013—")
TASKS = frozenset(("[", "]", "[]", "[x]", "[X]"))
DASHES = frozenset(("-", "--", "---", "\u2013", "—", "―"))

TARGET = re.compile(
    r"(?:<[^<>\s]*>|(?:[^\s()]|\([^\s()]*\))*)"
    r"""(?:[ \t]+(?:"[^"\n]*"|'[^'\n]*'))?[ \t]*\)"""
)
"""What follows `](` in a link: where it leads, with a title or without, and its bracket."""

TARGET_SO_FAR = re.compile(
    r"(?:<[^<>\s]*>?|(?:[^\s()]|\([^\s()]*\))*(?:\([^\s()]*)?)"
    r"""(?:[ \t]+(?:"[^"\n]*"?|'[^'\n]*'?)?[ \t]*)?"""
)


def without_marks(word: str) -> str:
    """A word without what is there for emphasis, code and links, and with HTML's entities read.

    A star between digits stays, and so does what may belong to an address. One that stands alone
    is no mark.
    """
    if not _MARKED.search(word) or word == "*":
        return word
    if "&" in word and ";" in word:
        word = html.unescape(word)
    if _ADDRESS.search(word):
        return re.sub(r"^[*_`~\[\]<(]+|[*_`~\[\]>]+(?=[.,;:!?)]*$)", "", word)
    word = _ESCAPED.sub(r"\1", word)
    word = word.replace("![", "[").replace("`", "").replace("~~", "")
    word = _STAR.sub("", word)
    return _EDGE.sub("", word).replace("[", "").replace("]", "")
