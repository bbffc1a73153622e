"""What one row knows apart from arrays: sound waiting, the clock, words, turns and events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsm_mlx.results import EndOfTurn, Event, Mark, Partial, Pause, Word
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.session import Session as RuntimeSession
from dsm_mlx.stt.boost import Boost
from dsm_mlx.stt.clock import Clock
from dsm_mlx.stt.pauses import LENGTHS, EnergyPauses, TurnDetector, TurnPolicy
from dsm_mlx.stt.steering import Prompted, Steering, Wish
from dsm_mlx.stt.words import HeardWord, WordReader

UNTAKEN_SECONDS = 10.0  # of events that nobody takes: then no more is heard


@dataclass(frozen=True)
class Timing:
    """The constants of a model's clock. delay: of the text, in frames. prefix: of silence before
    the sound, in samples. heads: the model itself predicts pauses."""

    sample_rate: int
    frame_rate: float
    frame_size: int
    delay: int
    prefix: int
    heads: bool


class Session(RuntimeSession):
    """One row's host side.

    What it is given lies in one queue in order: sound, silence that the library adds, and what is
    to happen when all before it has been heard (the word in progress ends, the model starts
    afresh, a mark comes back).

    Args:
        beginning: the state of a row that has heard nothing.
        afresh: gives it again, after a reset, on the worker's thread. Without, it is kept.
        tokenizer: a SentencePieceProcessor.
        options: what the stream was opened with, see `Asked.plain`.
        prompted: what a prompt has left that `beginning` has heard.
        boost: phrases to prefer.
    """

    def __init__(
        self,
        beginning: Any,
        tokenizer,
        timing: Timing,
        turns: TurnPolicy | None = None,
        *,
        options: dict[str, Any] | None = None,
        afresh: Callable[[], Any] | None = None,
        prompted: Prompted | None = None,
        boost: Boost | None = None,
        live: bool = True,
        changed: Changed | None = None,
    ):
        super().__init__(beginning, live=live, changed=changed)
        self._tokenizer, self._policy = tokenizer, turns
        self._prompted, self._boost = prompted, boost
        self.timing, self.options = timing, options or {}
        self.partials = False  # whether words in progress are told, too
        self.ended = False  # whether no more sound comes
        self._afresh: Callable[[], Any] | None = afresh or (lambda: beginning)
        self.clock = Clock(timing.sample_rate)
        self.words = WordReader(tokenizer, timing.delay)
        self.steering = Steering(boost)
        self.turns = TurnDetector(timing.frame_rate, turns or TurnPolicy())
        self.energy = None if timing.heads else EnergyPauses(timing.frame_rate)
        self.queue: deque[np.ndarray | Task] = deque()
        self.samples = 0  # in the queue
        self.levels: deque[np.ndarray] = deque()
        self.frame = 0
        self.events: deque[Event] = deque()
        self.untaken = 0  # frames whose events nobody has taken
        self.shown = ""
        self._computing = 0
        self._most_untaken = round(UNTAKEN_SECONDS * timing.frame_rate)
        self._append(np.zeros(timing.prefix, np.float32), audio=False)
        if prompted:
            self._go_on_from(prompted)

    def again(self, state: Any) -> Session:
        """Another session of the same kind, which goes on from `state`."""
        return Session(
            state,
            self._tokenizer,
            self.timing,
            self._policy,
            options=self.options,
            afresh=self._afresh,
            prompted=self._prompted,
            boost=self._boost,
        )

    def let_go(self) -> None:
        super().let_go()
        self._afresh = None

    # ---- what is given; with `changed` held

    def feed(self, pcm: np.ndarray) -> None:
        """Take float32 pcm (samples,) to be heard."""
        self._append(pcm, audio=True)

    def drain(self) -> None:
        """Add the silence that brings out the last word, the delay and a second, in whole frames;
        then the word in progress ends."""
        size = self.timing.frame_size
        frames = self.timing.delay + round(self.timing.frame_rate)
        self._append(np.zeros(-self.samples % size + frames * size, np.float32), audio=False)
        self.queue.append(Task("finish"))

    def restart(self) -> None:
        """The model shall start afresh: it wants its silence first. Times go on. Comes after
        `drain`, so that no word is lost."""
        self.queue.append(Task("restart"))
        self._append(np.zeros(self.timing.prefix, np.float32), audio=False)

    def mark(self, value: Any) -> None:
        """Have `value` come back when all whole frames before it have been heard."""
        self.queue.append(Task("mark", value))

    def _append(self, pcm: np.ndarray, *, audio: bool) -> None:
        self.clock.advance(pcm.size, audio=audio)
        if pcm.size:
            self.queue.append(pcm)
            self.samples += pcm.size

    # ---- what waits; with `changed` held

    @property
    def frames_waiting(self) -> int:
        return self.samples // self.timing.frame_size

    @property
    def idle(self) -> bool:
        """Nothing waits to be heard and nothing is being heard; a part of a frame may be left."""
        nothing = not self.frames_waiting and not self._computing
        return nothing and not any(isinstance(item, Task) for item in self.queue)

    @property
    def crowded(self) -> bool:
        """Nobody takes the events, so that no more is heard."""
        return self.live and self.untaken >= self._most_untaken

    @property
    def sampled(self) -> bool:
        """Whether its tokens are drawn."""
        return self.options.get("temperature", 0) > 0

    @property
    def partial_word(self) -> str:
        """The word in progress, not yet an event."""
        return self.words.partial

    # ---- the runtime's side

    def prepare(self) -> bool:
        """Do the tasks that are due."""
        told = False
        while not self._computing and (at := self._due()) is not None:
            told, task = True, self.queue[at]
            del self.queue[at]
            if task.kind == "finish":
                self._tell(self._word(word) for word in self.words.finish())
            elif task.kind == "restart":
                self.beginning = self._afresh()
                self.turns.restart()
                self.steering.restart()
                if self._prompted and self._prompted.lasts:
                    self._go_on_from(self._prompted)
            else:
                self._tell([Mark(task.value)])
        return told

    def _go_on_from(self, prompted: Prompted) -> None:
        self.words.restore(prompted.words, self.frame)
        self.steering.restart(prompted.forcing)

    def _due(self) -> int | None:
        """Where the next task is in the queue, if less than a frame is left before it."""
        left = 0
        for at, item in enumerate(self.queue):
            if isinstance(item, Task):
                return at
            left += item.size
            if left >= self.timing.frame_size:
                return None
        return None

    @property
    def ready(self) -> bool:
        return bool(self.frames_waiting) and not self.crowded and self._due() is None

    def next_frame(self) -> np.ndarray:
        """The next whole frame, float32 (frame_size,). With `changed` held, as all here."""
        parts, missing = [], self.timing.frame_size
        while missing:
            part = self.queue.popleft()
            if part.size > missing:
                self.queue.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= part.size
        self._computing += 1
        self.samples -= self.timing.frame_size
        frame = np.concatenate(parts)
        if self.energy:
            self.levels.append(frame)
        return frame

    def wish(self) -> Wish | None:
        """Of the token of the next frame."""
        return self.steering.wish()

    def take(self, token: int, pauses: list[float], probability: float) -> None:
        """What the model said of the next frame -> events, in order.

        Silence that was added brings words out, but is no pause of the speaker's.
        """
        self._computing -= 1
        self.steering.push(token, probability)
        frame, self.frame = self.frame, self.frame + 1
        size = self.timing.frame_size
        words = [self._word(word) for word in self.words.push(frame, token, probability)]
        self._tell(words)
        if words:
            self.turns.word()
        if self.energy:
            pauses = self.energy.push(self.levels.popleft())
        if self.clock.is_audio(frame * size):
            time = self.clock.seconds((frame + 1) * size)
            probabilities = dict(zip(LENGTHS, pauses, strict=False))
            self._show_partial(time)
            self._tell([Pause(time, probabilities)])
            if self.turns.push(probabilities):
                self._tell([EndOfTurn(time)])
        self.clock.forget(frame * size)

    def _show_partial(self, time: float) -> None:
        partial = self.words.partial if self.partials else ""
        if partial and partial != self.shown:
            self._tell([Partial(partial, time)])
        self.shown = partial

    def _tell(self, events) -> None:
        for event in events:
            self.untaken += isinstance(event, Pause)
            self.events.append(event)

    def _word(self, word: HeardWord) -> Word:
        size = self.timing.frame_size
        start, end = (self.clock.seconds(t * size) for t in (word.start, word.end))
        return Word(word.text, round(start, 3), round(end, 3), word.confidence)

    # ---- what is taken; with `changed` held

    def take_events(self) -> list[Event]:
        """All events so far, oldest first."""
        events, self.untaken = list(self.events), 0
        self.events.clear()
        return events

    def take_event(self) -> Event | None:
        """The oldest event."""
        if not self.events:
            return None
        event = self.events.popleft()
        self.untaken -= isinstance(event, Pause)
        return event


@dataclass(frozen=True)
class Task:
    """What happens when all before it has been heard: "finish", "restart" or "mark"."""

    kind: str
    value: Any = None
