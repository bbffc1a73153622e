"""Whose turn it is: what follows from what is heard. Plain values; no models, no waiting."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from dsm_mlx import results
from dsm_mlx.chat.events import Heard, Partial, TakenBack, TurnEnded

_ENOUGH_SPEECH = 0.3  # seconds of it, with a word, that stop the assistant; so do two words
_TOGETHER = 2.0  # seconds within which two words begin, to count as two
_LOST = 2.0  # seconds after which a word in progress, on which a turn was opened again, is no word
_SPEECH_KEPT = 10.0  # seconds: words lag by less


@dataclass(frozen=True)
class Finish:
    """Bring out the last words, and say `TurnTaking.finished(time)` when they are there."""

    time: float


@dataclass(frozen=True)
class Answer:
    """The turn is over: ask for a reply. last_word: where the person's last word ends."""

    text: str
    last_word: float


@dataclass(frozen=True)
class Keep:
    """The turn is over, and stays unanswered. last_word: None where there were no words."""

    text: str
    last_word: float | None


@dataclass(frozen=True)
class Withdraw:
    """The turn that is being answered goes on: the answer shall never have been."""


@dataclass(frozen=True)
class Stop:
    """Somebody speaks over the assistant, which falls silent."""


Step = Finish | Answer | Keep | Withdraw | Stop | Partial | Heard | TakenBack | TurnEnded


@dataclass
class Manners:
    """How turns are taken; may change at any time.

    ends: the model sees the end of a turn; if not, only the person says it (`committed`). answers:
    a turn that has ended is answered. interruptible: who speaks over the assistant stops it.
    """

    ends: bool = True
    answers: bool = True
    interruptible: bool = True


@dataclass
class _Turn:
    """One that has ended. time: when that became clear."""

    words: list[results.Word]
    time: float


class TurnTaking:
    """Gathers words into turns, and tells what is to be done: steps and events, in their order.

    All times are seconds of the sound that was given to the model, in which words say when they
    were spoken, so that it does not matter how late they become known.

    patience: seconds after the end of a turn in which the person may go on. delay: by which words
    lag.
    """

    def __init__(self, patience: float, delay: float, manners: Manners | None = None):
        self._patience, self._delay = patience, delay
        self._manners = manners or Manners()
        self.now = 0.0  # how far the sound has been heard
        self.words: list[results.Word] = []  # of the turn in progress
        self._partial, self._partial_start = "", 0.0
        self._busy = False  # an answer is being thought of or said
        self._heard_from: float | None = None  # since when it can be heard
        self._before = 0  # how many words of this turn were there before it
        self._ended: _Turn | None = None  # which is being answered
        self._kept: float | None = None  # when a turn ended that was too little to stop anything
        self._reopened: float | None = None  # on a word in progress
        self._speech: deque[tuple[float, float]] = deque()  # frames in which somebody spoke

    @property
    def text(self) -> str:
        """What the person has said of this turn so far."""
        return " ".join(word.text for word in self.words)

    @property
    def start(self) -> float:
        """When the first word of this turn began; the present, where there is none."""
        if self.words:
            return self.words[0].start
        return self._partial_start if self._partial else self.now

    # ---- of the person

    def word(self, word: results.Word) -> list[Step]:
        """A word has become known."""
        self._partial, self._kept, self._reopened = "", None, None
        if self._goes_on(word.start):
            steps = self._take_back(word)
        else:
            self.words.append(word)
            steps = self._stop_if_enough()
        return [*steps, Heard(self.text, self.now)]

    def partial(self, event: results.Partial) -> list[Step]:
        """A word in progress."""
        if not self._partial:
            self._partial_start = max(0.0, event.time - self._delay)
        self._partial = event.text
        if self._goes_on(event.time - self._delay):
            steps = self._take_back(None)
        else:
            steps = self._stop_if_enough()
        if steps:
            self._reopened = self.now
        return [*steps, Partial(f"{self.text} {event.text}".strip(), self.now)]

    def pause(self, event: results.Pause) -> list[Step]:
        """A frame has been heard; how likely it is that nobody speaks."""
        before, self.now = self.now, event.time
        if event.probabilities.get(0.5, 1.0) < 0.5:
            self._speech.append((before, self.now))
        while self._speech and self._speech[0][0] < self.now - _SPEECH_KEPT:
            self._speech.popleft()
        if self._reopened is not None and self.now > self._reopened + self._delay + _LOST:
            self._reopened = None
            return self.end(results.EndOfTurn(self.now))
        return self._stop_if_enough()

    def end(self, event: results.EndOfTurn) -> list[Step]:
        """The person seems to have finished."""
        return [Finish(event.time)] if self._manners.ends else []

    def finished(self, time: float) -> list[Step]:
        """All words up to the end that was seen at `time` are known."""
        self._partial = ""
        if not self.words:
            return []
        thinking = self._busy and self._heard_from is None
        if thinking and self._manners.interruptible:  # more was said meanwhile
            return [*self.stop(), *self._close(time)]
        if self._busy:
            self._kept = time
            return []
        return self._close(time)

    def committed(self) -> list[Step]:
        """The person has said that the turn is over, and all of its words are known."""
        self._partial, self._kept = "", None
        return [*(self.stop() if self._manners.interruptible else []), *self._close(self.now)]

    def cleared(self) -> list[Step]:
        """What was said of this turn shall not have been said."""
        self._partial, self._kept, self._reopened = "", None, None
        self.words, self._before = [], 0
        return [Heard("", self.now)]

    # ---- of the assistant

    def begun(self) -> None:
        """Something is being thought of or said."""
        self._busy, self._heard_from, self._before = True, None, len(self.words)

    def sounds(self, time: float) -> None:
        """It can be heard from `time` on."""
        self._heard_from = time

    def over(self) -> list[Step]:
        """All was said. What was said meanwhile, and was too little to stop it, is a turn if it is
        more than a word; a word alone begins the next turn."""
        self._busy, self._ended = False, None
        kept, self._kept = self._kept, None
        if kept is not None and len(self.words) > 1:
            return self._close(kept)
        return []

    def stop(self) -> list[Step]:
        """The assistant is stopped, by what was said or from outside."""
        if not self._busy:
            return []
        self._busy, self._ended, self._kept = False, None, None
        return [Stop()]

    # ---- within

    def _close(self, time: float) -> list[Step]:
        """The turn is over and will be answered."""
        text, words, self.words, self._before = self.text, self.words, [], 0
        ended = TurnEnded(text, self.now)
        if not (words and self._manners.answers):
            self._ended = None
            return [ended, Keep(text, words[-1].end if words else None)]
        self._ended = _Turn(words, time)
        return [ended, Answer(text, words[-1].end)]

    def _goes_on(self, start: float) -> bool:
        """Whether a word that began at `start` belongs to the turn that is being answered: it came
        soon, and before any of the answer was heard."""
        if not (self._ended and self._manners.interruptible):
            return False
        if start > self._ended.time + self._patience:
            return False
        return self._heard_from is None or start < self._heard_from

    def _take_back(self, word: results.Word | None) -> list[Step]:
        assert self._ended
        self.words = [*self._ended.words, *self.words, *([word] if word else [])]
        self._busy, self._ended = False, None
        return [Withdraw(), TakenBack(self.text, self.now)]

    def _stop_if_enough(self) -> list[Step]:
        stops = self._busy and self._manners.interruptible and self._enough()
        return self.stop() if stops else []

    def _enough(self) -> bool:
        """Whether what is said over the assistant is meant to stop it: two words, or one and some
        speech. A sound that was taken for a short word is not."""
        words = self.words[self._before :]
        latest = self.now if self._partial else words[-1].start if words else 0.0
        lag = self._delay if self._partial else 0.0
        words = [word for word in words if word.start >= latest - lag - _TOGETHER]
        if len(words) + bool(self._partial) > 1:
            return True
        if not words:
            return False
        spoken = sum(end - start for start, end in self._speech if end > words[0].start)
        return spoken >= _ENOUGH_SPEECH
