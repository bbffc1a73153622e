"""A reader of text as people write it: with numbers, Markdown, addresses, and a lexicon."""

from __future__ import annotations

from copy import copy

from dsm_mlx.tts.script import Entry, ScriptReader
from dsm_mlx.tts.text.lexicon import Lexicon
from dsm_mlx.tts.text.phrases import Phrases
from dsm_mlx.tts.text.rules import Rules
from dsm_mlx.tts.text.scanner import Event, Gap, LeftOut, Scanner, Tag, Word
from dsm_mlx.tts.text.words import Said, word_of


class WrittenReader:
    """As `ScriptReader`, of which it makes use, for text whose words are not always said as they
    are written. The pieces in which it is fed do not change the result.

    The entries carry what was written: a word for which several are said begins with the first of
    them, and the others `goes_on`.

    Args:
        reader: turns what is said into entries.
        rules: None: text is read as it stands, but for the lexicon.
        lexicon: None: there is none.
    """

    def __init__(self, reader: ScriptReader, rules: Rules | None, lexicon: Lexicon | None):
        self._reader = reader
        self._scanner = Scanner(markdown=rules is not None)
        self._phrases = Phrases(rules, lexicon)
        self._gap = 0.0  # seconds of pause before the next word
        self._said = False  # something, since which a pause may come

    @property
    def nothing_said(self) -> bool:
        """As `ScriptReader.nothing_said`."""
        return self._reader.nothing_said

    @property
    def left_out(self) -> tuple[str, ...]:
        """As `ScriptReader.left_out`, with blocks of code, and without punctuation."""
        return tuple(what for what in self._reader.left_out if word_of(what).core)

    def copy(self) -> WrittenReader:
        """A reader that has read the same."""
        other = copy(self)
        other._reader, other._scanner = self._reader.copy(), self._scanner.copy()
        other._phrases = self._phrases.copy()
        return other

    def turn(self, speaker: int, entries: list[Entry] | None = None) -> list[Entry]:
        """As `ScriptReader.turn`."""
        entries = [] if entries is None else entries
        self._finish(entries)
        return self._reader.turn(speaker, entries)

    def feed(self, text: str, entries: list[Entry] | None = None) -> list[Entry]:
        """As `ScriptReader.feed`."""
        entries = [] if entries is None else entries
        events: list[Event] = []
        for ch in text:
            self._scanner.take(ch, events)
            if events:
                self._handle(events, entries)
                events.clear()
        self._reader.tell()
        return entries

    def end(self, entries: list[Entry] | None = None) -> list[Entry]:
        """As `ScriptReader.end`."""
        entries = [] if entries is None else entries
        self._finish(entries)
        return self._reader.end(entries)

    def _finish(self, entries: list[Entry]) -> None:
        events: list[Event] = []
        self._scanner.end(events)
        self._handle(events, entries)
        self._say(self._phrases.end(), entries)
        self._gap, self._said = 0.0, False

    def _handle(self, events: list[Event], entries: list[Entry]) -> None:
        for event in events:
            if isinstance(event, Word):
                self._pause(entries)
                self._said = True
                self._say(self._phrases.add(word_of(event.text)), entries)
            elif isinstance(event, Gap):
                self._gap = max(self._gap, event.seconds)
            elif isinstance(event, Tag):
                if event.breaks:
                    self._say(self._phrases.end(), entries)
                    self._gap, self._said = 0.0, False
                self._reader.take(event.text, entries)
            elif isinstance(event, LeftOut):
                self._reader.leave_out(event.what)

    def _pause(self, entries: list[Entry]) -> None:
        """Before a word; beside a break that was asked for there is none."""
        gap, self._gap = self._gap, 0.0
        if gap and self._said:
            self._say(self._phrases.end(), entries)
            self._reader.pause(gap, entries)

    def _say(self, said: list[Said], entries: list[Entry]) -> None:
        for written, words in said:
            if words is None:
                self._reader.say(None, written, entries)
            else:
                self._reader.say(written, words, entries)
