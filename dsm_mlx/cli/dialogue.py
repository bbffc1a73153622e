"""A conversation's events as turns that are settled, and as what a terminal shows of them."""

from __future__ import annotations

from dataclasses import dataclass

from dsm_mlx.chat.events import (
    Event,
    Failed,
    Heard,
    Interrupted,
    Latency,
    Partial,
    Said,
    Saying,
    TakenBack,
    TurnEnded,
)

USER, ASSISTANT = "you", "assistant"
CUT = " -- (interrupted)"
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True)
class Turn:
    """What one of both has said, when nothing can change it any more.

    who: `USER` or `ASSISTANT`. text: what was heard. time: its end, in seconds of the talk. whole:
    the text that was to be said, where it was interrupted.
    """

    who: str
    text: str
    time: float
    whole: str | None = None
    latency: Latency | None = None


class Turns:
    """Makes turns of events. The person's may be taken back, so each waits for what follows."""

    def __init__(self) -> None:
        self._waiting: Turn | None = None

    def take(self, event: Event) -> list[Turn]:
        """Those that are settled now."""
        if isinstance(event, TakenBack):
            self._waiting = None
            return []
        if isinstance(event, TurnEnded):
            return [*self.end(), *self._wait(Turn(USER, event.text, event.time))]
        if isinstance(event, Said):
            turn = Turn(ASSISTANT, event.text, event.time, latency=event.latency)
        elif isinstance(event, Interrupted):
            turn = Turn(ASSISTANT, event.heard, event.time, event.text)
        elif isinstance(event, (Saying, Failed)):
            return self.end()
        else:
            return []
        return [*self.end(), *([turn] if turn.text.strip() else [])]

    def _wait(self, turn: Turn) -> list[Turn]:
        self._waiting = turn
        return []

    def end(self) -> list[Turn]:
        """What waits, when the talk is over."""
        waiting, self._waiting = self._waiting, None
        return [waiting] if waiting else []


def line_of(turn: Turn) -> str:
    """A turn on one line."""
    return f"{turn.who}: {plain(turn.text).strip()}{CUT * (turn.whole is not None)}"


def latency_line(latency: Latency) -> str:
    """How long an answer took, by stages."""
    return (
        f"  {latency.total:.2f} s to the first sound: end of turn {latency.last_word:.2f}, first "
        f"token {latency.first_token:.2f}, first sound {latency.first_sound:.2f}"
    )


class Live:
    """What to write to a terminal as things happen: a growing line of whoever speaks, with the word
    in progress dimmed, and taken back."""

    def __init__(self) -> None:
        self._who = ""  # whose line it is that the cursor is in; "" at the beginning of one
        self._shown = ""  # of the person's turn
        self._over = False  # the person's turn has ended, unless it is taken back
        self._partial = ""

    def show(self, event: Event) -> str:
        """What to write for an event."""
        text = self._take_back()
        if isinstance(event, (Heard, TurnEnded, Partial)):
            text += self._heard(plain(event.text), isinstance(event, Partial))
            self._over = isinstance(event, TurnEnded)
        elif isinstance(event, TakenBack):
            self._over = False
        elif isinstance(event, Saying):
            text += self._begin(ASSISTANT) + plain(event.text)
        elif isinstance(event, (Said, Interrupted)):
            cut = isinstance(event, Interrupted) and self._who == ASSISTANT
            text += CUT * cut + self.end()
        return text

    def end(self) -> str:
        """What to write before anything else is written."""
        text = self._take_back() + "\n" * bool(self._who)
        self._who, self._shown, self._over = "", "", False
        return text

    def _begin(self, who: str) -> str:
        """The beginning of somebody's line, unless the cursor is in it."""
        if self._who == who:
            return ""
        text, self._who = self.end(), who
        return f"{text}{who}: "

    def _heard(self, text: str, in_progress: bool) -> str:
        begun = ""
        if self._over or not text.startswith(self._shown):  # it is another turn
            begun = self.end()
        begun += self._begin(USER)
        new = text[len(self._shown) :]
        if not in_progress:
            self._shown = text
            return begun + new
        self._partial = new
        return begun + (f"{_DIM}{new}{_PLAIN}" if new else "")

    def _take_back(self) -> str:
        text = f"\x1b[{len(self._partial)}D\x1b[K" if self._partial else ""
        self._partial = ""
        return text


def plain(text: str) -> str:
    """Text on one line, without signs that would do something to a terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text)
