"""Words as text: as they come, on a terminal or through a pipe, or all of a transcript."""

from __future__ import annotations

from collections.abc import Sequence

from dsm_mlx.captions import doubt, turns
from dsm_mlx.captions.cutting import label
from dsm_mlx.results import EndOfTurn, Event, Transcript, Word

_COLOURS = {"low": "\x1b[31m", "medium": "\x1b[33m"}  # red, yellow
_PLAIN = "\x1b[0m"


class Printer:
    """Makes a growing line of words, or a line for each.

    timestamps: a line for each word, with its times. pauses: show where turns end. terminal: the
    word in progress is shown, too, dimmed, and taken back. colours: doubtful words have one.
    """

    def __init__(
        self,
        timestamps: bool = False,
        pauses: bool = False,
        terminal: bool = False,
        colours: bool = False,
    ):
        self.timestamps, self._pauses, self._terminal = timestamps, pauses, terminal
        self._colours = colours
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
            text += f"\x1b[2m{self._partial}{_PLAIN}"
        return text

    def end(self) -> str:
        """What to write at the end."""
        text, self._line = "\n" * self._line, False
        return text

    def turn_of(self, words: list[Word]) -> str:
        """A line of one speaker's."""
        return self.end() + label(words[0].speaker) + self.show(words) + self.end()

    def _word(self, word: Word) -> str:
        colour = _COLOURS.get(doubt(word.confidence), "") if self._colours else ""
        text = f"{colour}{word.text}{_PLAIN}" if colour else word.text
        if self.timestamps:
            return f"[{word.start:8.2f} -{word.end:8.2f}] {label(word.speaker)}{text}\n"
        between, self._line = " " * self._line, True
        return between + text

    def _turn(self, turn: EndOfTurn) -> str:
        told = f"-- {label(turn.speaker)}end of turn at {turn.time:.2f} s\n"
        return self.end() + told * self._pauses


def plain_text(transcript: Transcript, printer: Printer) -> list[str]:
    """A transcript as lines: one, or as the printer's options want it. Where speakers are known,
    there is one for each time that somebody began to speak."""
    # A word that begins as a turn ends belongs to the next one.
    words = transcript.words
    timed: list[tuple[float, int, EndOfTurn | Word | list[Word]]]
    timed = [(turn.time, 0, turn) for turn in transcript.turns]
    if any(word.speaker for word in words) and not printer.timestamps:
        timed += [(turn[0].start, 1, turn) for turn in turns(words)]
    else:
        timed += [(word.start, 1, word) for word in words]
    text = ""
    for *_, item in sorted(timed, key=lambda entry: entry[:2]):
        text += printer.turn_of(item) if isinstance(item, list) else printer.show([item])
    text += printer.end()
    return text.removesuffix("\n").split("\n") if text or not printer.timestamps else []
