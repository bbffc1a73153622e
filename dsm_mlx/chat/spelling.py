"""Where in a written text its spoken words are."""

from __future__ import annotations

import re

_CODE = re.compile(r"(```|~~~).*?(\1|\Z)", re.DOTALL)
# What belongs to a word and follows it: where a link leads, marks, punctuation.
_AFTER = re.compile(r"(?:\]\([^)\s]*\))?(?:[^\w\s]|_)*")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")
_FAR = 300  # characters within which the next word is looked for, code and spaces left out


class Spelling:
    """A text that is still being written, and how far it has been spoken.

    Spoken words have the spelling of the text, without its marks; code is not spoken.
    """

    def __init__(self) -> None:
        self.text = ""
        self.at = 0  # characters that were spoken

    def write(self, piece: str) -> None:
        """More of the text."""
        self.text += piece

    @property
    def spoken(self) -> str:
        """The text up to the last word that was spoken."""
        return self.text[: self.at]

    def speak(self, word: str) -> str:
        """The piece of the text from the last word's end to this one's; empty where the word is not
        found, and then the next one's piece has it, too."""
        core = _EDGES.sub("", word)
        if not core:
            return ""
        rest = _CODE.sub(lambda code: " " * len(code[0]), self.text[self.at :])
        spelt = r"\s+".join(map(re.escape, core.split()))
        found = re.search(rf"(?<![^\W_]){spelt}(?![^\W_])", rest)
        if not found or len("".join(rest[: found.start()].split())) > _FAR:
            return ""
        after = _AFTER.match(rest, found.end())
        end = self.at + (after.end() if after else found.end())
        piece, self.at = self.text[self.at : end], end
        return piece

    def finish(self) -> str:
        """All is spoken: the rest of the text."""
        piece, self.at = self.text[self.at :], len(self.text)
        return piece
