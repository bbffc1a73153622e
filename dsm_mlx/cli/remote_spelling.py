"""Numbers and the like for a server that is sent words as they are said, and tells them back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dsm_mlx.results import Word
from dsm_mlx.tts.script import Entry, ScriptReader
from dsm_mlx.tts.text.wording import Wording

_MOST_LOST = 20  # words in a row that a server leaves out


class Spelling:
    """Turns what is written into what is said, and the words of the server back into written ones.

    One thread feeds, another one may ask.
    """

    def __init__(self, wording: Wording):
        milliseconds = 1000.0
        reader = ScriptReader(_letters, frame_rate=milliseconds, speakers=False)
        self._reader = wording.over(reader)
        self._sent: deque[Entry] = deque()
        self._begun: Word | None = None  # a written word of which the server has told a part

    @property
    def left_out(self) -> tuple[str, ...]:
        """As that of a `ScriptReader`."""
        return self._reader.left_out

    def feed(self, text: str, say: Callable[[str], None]) -> None:
        """More text: `say` is given what is said for it, in whole words and breaks. ValueError as
        from `ScriptReader.feed`."""
        entries: list[Entry] = []
        try:
            self._reader.feed(text, entries)
        finally:
            self._say(entries, say)

    def end(self, say: Callable[[str], None]) -> None:
        """No more text follows; otherwise as `feed`."""
        entries: list[Entry] = []
        try:
            self._reader.end(entries)
        finally:
            self._say(entries, say)

    def _say(self, entries: list[Entry], say: Callable[[str], None]) -> None:
        self._sent.extend(entry for entry in entries if entry.tokens)
        say("".join(f"{_spoken(entry)} " for entry in entries))

    def written(self, word: Word) -> list[Word]:
        """The written words that are over with this one: none while more is said for the same."""
        for lost in range(min(len(self._sent), _MOST_LOST)):
            if _spoken(self._sent[lost]) == word.text:
                break
        else:
            return [word]
        for _ in range(lost):
            self._sent.popleft()
        entry = self._sent.popleft()
        start = self._begun.start if self._begun and entry.goes_on else word.start
        self._begun = Word(entry.text, start, word.end)
        if self._sent and self._sent[0].goes_on:
            return []
        return [self._begun]


def _letters(word: str) -> tuple[int, ...]:
    return tuple(map(ord, word))


def _spoken(entry: Entry) -> str:
    if not entry.tokens:
        return f'<break time="{entry.padding / 1000:g}s"/>'
    return "".join(map(chr, entry.tokens))
