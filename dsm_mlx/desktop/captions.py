"""What was said, as it is shown, copied and saved. Nothing here knows of windows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from dsm_mlx import captions
from dsm_mlx.files.text import save
from dsm_mlx.results import EndOfTurn, Event, Partial, Transcript, Word

LONG, LONGEST = 60, 120  # words of a paragraph: then it ends with a sentence; then anywhere


@dataclass
class Paragraph:
    """What was said without a pause.

    words: what is settled. going: the word in progress, which may still change. ended: whether a
    pause followed; pause: how many seconds of it, once somebody has gone on.
    """

    words: list[Word] = field(default_factory=list)
    going: str = ""
    ended: bool = False
    pause: float | None = None

    @property
    def text(self) -> str:
        """What is settled."""
        return " ".join(word.text for word in self.words)

    @property
    def mark(self) -> str:
        """What to say of the pause after it; nothing where there was none."""
        if not self.ended:
            return ""
        return "pause" if self.pause is None else f"pause, {self.pause:.1f} s"


class Captions:
    """Makes paragraphs of the events of one stream after the other.

    Times are seconds since the first stream began, or since `clear`, so that subtitles fit a
    recording that somebody makes meanwhile.
    """

    def __init__(self) -> None:
        self.paragraphs: list[Paragraph] = []
        self._turns: list[EndOfTurn] = []
        self._zero: float | None = None  # the moment whose time is 0
        self._shift = 0.0

    def begin(self, began: float) -> None:
        """The events that follow are of a stream whose time 0 was the moment `began`, in seconds of
        a clock that goes on between streams."""
        if self._zero is None:
            self._zero = began
        self._shift = began - self._zero
        self._end()

    def take(self, event: Event) -> None:
        """Words, words in progress and ends of turns; all else is not shown."""
        if isinstance(event, Word):
            self._word(event)
        elif isinstance(event, Partial):
            self._partial(event.text)
        elif isinstance(event, EndOfTurn):
            self._end()
            self._turns.append(replace(event, time=self._moved(event.time)))

    def end(self) -> None:
        """No more comes of this stream."""
        self._partial("")
        self._end()

    def clear(self, now: float | None = None) -> None:
        """Forget all. now: the moment from which times count; None: the next stream's beginning."""
        if now is not None and self._zero is not None:
            self._shift += self._zero - now
        self.paragraphs.clear()
        self._turns.clear()
        self._zero = now

    @property
    def text(self) -> str:
        """What is settled, a line for each paragraph."""
        return "".join(f"{paragraph.text}\n" for paragraph in self.paragraphs if paragraph.words)

    @property
    def transcript(self) -> Transcript:
        """What is settled, with its times."""
        words = [word for paragraph in self.paragraphs for word in paragraph.words]
        turns = list(self._turns)
        ends = [word.end for word in words] + [turn.time for turn in turns]
        text = " ".join(word.text for word in words)
        return Transcript(text, words, turns=turns, duration=max(ends, default=0.0))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file of the kind that its name ends in: .txt (a line for each paragraph), .srt,
        .vtt or .json. ValueError for any other ending, OSError where it cannot be written."""
        if Path(path).suffix.lower() == ".txt":
            save(path, self.text)
        else:
            captions.write(self.transcript, path)

    def _word(self, word: Word) -> None:
        start = self._moved(word.start)
        word = replace(word, start=start, end=max(start, self._moved(word.end)))
        words = self._going_on().words
        if len(words) >= LONGEST or (len(words) >= LONG and words[-1].text[-1:] in ".?!"):
            self.paragraphs[-1].going = ""
            self.paragraphs.append(Paragraph())
        paragraph = self.paragraphs[-1]
        if len(self.paragraphs) > 1 and not paragraph.words:
            before = self.paragraphs[-2]
            before.pause = max(0.0, start - before.words[-1].end)
        paragraph.words.append(word)
        paragraph.going = ""

    def _partial(self, text: str) -> None:
        if text or (self.paragraphs and self.paragraphs[-1].going):
            self._going_on().going = text

    def _going_on(self) -> Paragraph:
        """The paragraph to which something is added."""
        if not self.paragraphs or self.paragraphs[-1].ended:
            self.paragraphs.append(Paragraph())
        return self.paragraphs[-1]

    def _end(self) -> None:
        if self.paragraphs and self.paragraphs[-1].words:
            self.paragraphs[-1].ended = True

    def _moved(self, time: float) -> float:
        return max(0.0, time + self._shift)


def stamp(seconds: float) -> str:
    """A time to be read: 0:07, 12:40, 1:02:03."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
