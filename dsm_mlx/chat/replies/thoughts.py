"""What a model thinks before it answers is not said aloud."""

from __future__ import annotations

START, END = "<think>", "</think>"


class Thoughts:
    """Takes a text in pieces and gives back what of it is not between the marks of a thought.

    inside: whether the text begins within one. start, end: the marks, which may be split between
    pieces; what may yet become one is held back.
    """

    def __init__(self, start: str = START, end: str = END, inside: bool = False):
        self._marks = start, end
        self._inside, self._held = inside, ""

    def __call__(self, piece: str) -> str:
        """What can be said of the text so far and has not been given yet."""
        text, said = self._held + piece, []
        while True:
            before, mark, after = text.partition(self._marks[self._inside])
            if not mark:
                break
            said.append("" if self._inside else before)
            text, self._inside = after, not self._inside
        kept = _begun(text, self._marks[self._inside])
        self._held = text[len(text) - kept :]
        if not self._inside:
            said.append(text[: len(text) - kept])
        return "".join(said)

    def end(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return "" if self._inside else held


def _begun(text: str, mark: str) -> int:
    """How many characters at the end of `text` may be the beginning of `mark`."""
    sizes = range(min(len(text), len(mark) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(mark[:size])), 0)
