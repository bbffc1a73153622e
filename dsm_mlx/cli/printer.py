"""Words as text: as they come, on a terminal or through a pipe, or all of a transcript."""

from __future__ import annotations

from collections.abc import Sequence

from dsm_mlx.results import EndOfTurn, Event, Transcript, Word


class Printer:
    """Makes a growing line of words, or a line for each.

    timestamps: a line for each word, with its times. pauses: show where turns end. terminal: the
    word in progress is shown, too, dimmed, and taken back.
    """

    def __init__(self, timestamps: bool = False, pauses: bool = False, terminal: bool = False):
        self.timestamps, self._pauses, self._terminal = timestamps, pauses, terminal
        self._line = False  # whether the current line has words
        self._partial = ""

    def show(self, events: Sequence[Event], partial: str = "") -> str:
        """What to write for these events and the word in progress."""
        text = ""
        if self._partial:
            text = f"\x1b[{len(self._partial)}D\x1b[K"
        for event in events:
            if isinstance(event, Word):
                text += self._word(event)
            elif isinstance(event, EndOfTurn):
                text += self._turn(event)
        self._partial = f" {partial}" if partial and self._terminal else ""
        if self._partial:
            text += f"\x1b[2m{self._partial}\x1b[0m"
        return text

    def end(self) -> str:
        """What to write at the end."""
        text, self._line = "\n" * self._line, False
        return text

    def _word(self, word: Word) -> str:
        if self.timestamps:
            return f"[{word.start:8.2f} -{word.end:8.2f}] {word.text}\n"
        between, self._line = " " * self._line, True
        return between + word.text

    def _turn(self, turn: EndOfTurn) -> str:
        return self.end() + f"-- end of turn at {turn.time:.2f} s\n" * self._pauses


def plain_text(transcript: Transcript, printer: Printer) -> list[str]:
    """A transcript as lines: one, or as the printer's options want it."""
    # A word that begins as a turn ends belongs to the next one.
    turns, words = transcript.turns, transcript.words
    events = [(turn.time, 0, turn) for turn in turns] + [(word.start, 1, word) for word in words]
    text = printer.show([event for *_, event in sorted(events, key=lambda entry: entry[:2])])
    text += printer.end()
    return text.removesuffix("\n").split("\n") if text or not printer.timestamps else []
