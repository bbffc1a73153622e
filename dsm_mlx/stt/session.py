"""What one row knows apart from arrays: sound waiting, the clock, words, turns and events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dsm_mlx.results import EndOfTurn, Event, Mark, Partial, Pause, Renewed, Word
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.session import Session as RuntimeSession
from dsm_mlx.stt.boost import Boost
from dsm_mlx.stt.clock import Clock, Timing
from dsm_mlx.stt.guard import Guard
from dsm_mlx.stt.level import AHEAD, Level
from dsm_mlx.stt.pauses import LENGTHS, EnergyPauses, TurnDetector, TurnPolicy
from dsm_mlx.stt.steering import Prompted, Steering, Wish
from dsm_mlx.stt.tasks import Task
from dsm_mlx.stt.trial import Doubt, Trial
from dsm_mlx.stt.words import HeardWord, WordReader

UNTAKEN_SECONDS = 10.0  # of events that nobody takes: then no more is heard


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
        self._afresh: Callable[[], Any] = afresh or (lambda: beginning)
        self.clock = Clock(timing.sample_rate)
        self.words = WordReader(tokenizer, timing.delay)
        self.steering = Steering(boost)
        self.turns = TurnDetector(timing.frame_rate, turns or TurnPolicy())
        self.energy = None if timing.heads else EnergyPauses(timing.frame_rate)
        self.queue: deque[np.ndarray | Task] = deque()
        self.samples = 0  # in the queue
        self.again_samples = 0  # of these, heard before
        self.level = Level() if self.options.get("gain") else None
        self.guard = Guard(timing.frame_rate, timing.delay)
        self.doubt = Doubt(self.words, self.steering, timing.frame_rate)
        self.watched = 0  # frames that the guard has seen
        self.known = 0  # the position up to which the sound was heard before
        self.floor = 0  # where the row started afresh: words do not lie before it
        self.frames: deque[np.ndarray] = deque()  # being heard
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
        self._afresh = lambda: None
        self.doubt.forget()

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
        """Nothing waits to be heard and nothing is being heard; a part of a frame may be left, and
        what the level waits with."""
        nothing = not self._computing and (not self.frames_waiting or self._held)
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
        while not self._computing and (due := self._due()):
            told, (at, task) = True, due
            if self.doubt.trial and task.kind in ("finish", "restart"):
                words, in_vain = self.doubt.conclude()
                self._tell_words(words)
                self._go_back(in_vain)
                continue
            del self.queue[at]
            if task.kind == "finish":
                self._tell_words(self.words.finish())
            elif task.kind == "restart":
                self.beginning = self._afresh()
                self.turns.restart()
                self.steering.restart()
                if self._prompted and self._prompted.lasts:
                    self._go_on_from(self._prompted)
                self.guard.restart(self.frame)
            elif task.kind == "renew":
                self._renew(task.value)
            else:
                self._tell([Mark(task.value)])
        return told

    def _go_on_from(self, prompted: Prompted) -> None:
        self.words.restore(prompted.words, self.frame)
        self.steering.restart(prompted.forcing)

    def _renew(self, time: float) -> None:
        """Start afresh, and hear again what the guard has kept; times stay right."""
        self._tell_words(self.doubt.trust())
        if self.guard.stalled is None:
            return  # a word came with the frame that was being computed
        size = self.timing.frame_size
        silence = -(-self.timing.prefix // size)  # in whole frames, so that pauses lie as before
        start, self.floor = self.guard.first * size, self.frame * size
        self.clock.repeat(start, self.floor, silence * size)
        sound = [np.zeros(silence * size, np.float32), *self.guard.renew(self.frame, silence)]
        more = self._put_before(sound)
        self.known = max(self.known, self.floor) + more  # it may be heard again already
        self.beginning = self._afresh()
        self.steering.restart()
        if self._prompted and self._prompted.lasts:
            self._tell_words(self.words.finish())
            self._go_on_from(self._prompted)
        self._tell([Renewed(time)])

    def _due(self) -> tuple[int, Task] | None:
        """The next task and where it is in the queue, if less than a frame is left before it."""
        left = 0
        for at, item in enumerate(self.queue):
            if isinstance(item, Task):
                return at, item
            left += item.size
            if left >= self.timing.frame_size:
                return None
        return None

    @property
    def ready(self) -> bool:
        some = bool(self.frames_waiting) and not self.crowded
        return some and self._due() is None and not self._held

    def next_frame(self) -> np.ndarray:
        """The next whole frame, float32 (frame_size,). With `changed` held, as all here."""
        parts: list[np.ndarray] = []
        missing = self.timing.frame_size
        while missing:
            part = self.queue.popleft()
            if isinstance(part, Task):
                raise RuntimeError("a task is due before the next frame")
            if part.size > missing:
                self.queue.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= part.size
        self._computing += 1
        self.samples -= self.timing.frame_size
        self.again_samples = max(0, self.again_samples - self.timing.frame_size)
        frame = np.concatenate(parts)
        self._put_right(frame, (self.frame + self._computing - 1) * self.timing.frame_size)
        self.frames.append(frame)
        return frame

    @property
    def _held(self) -> bool:
        """Whether the next frame waits for more sound, from which its level will be known."""
        position = (self.frame + self._computing) * self.timing.frame_size
        if not self.level or self.level.sure or position < self.known:
            return False
        frames, more = self._coming(position)
        return more and self.level.waits(frames)

    def _coming(self, position: int) -> tuple[list[np.ndarray], bool]:
        """The caller's sound in the next whole frames, of which the first lies at `position`, up to
        a task or silence that was added; and whether it may go on after them."""
        size, most = self.timing.frame_size, (AHEAD + 1) * self.timing.frame_size
        parts, left = [np.zeros(0, np.float32)], most
        for item in self.queue:
            if isinstance(item, Task) or left <= 0:
                left = 0
                break
            parts.append(item)
            left -= item.size
        sound, frames = np.concatenate(parts)[:most], []
        for start in range(0, sound.size - size + 1, size):
            audio = self.clock.audio_within(position + start, position + start + size)
            frames += [sound[a - position : b - position] for a, b in audio]
            if not audio or audio[-1][1] < position + start + size:
                return frames, False
        return frames, left > 0

    def wish(self) -> Wish | None:
        """Of the token of the next frame."""
        return self.steering.wish()

    def _put_right(self, frame: np.ndarray, position: int) -> None:
        """The level of the caller's sound, where that is wanted and has not been done before."""
        if self.level and position >= self.known:
            end = position + frame.size
            ahead = [] if self.level.sure else self._coming(end)[0]
            for a, b in self.clock.audio_within(position, end):
                part = slice(a - position, b - position)
                frame[part] = self.level.push(frame[part], ahead)

    # ---- a phrase in doubt

    @property
    def keeps(self) -> bool:
        return self.doubt.keeps

    def keep(self, state: Any) -> None:
        self.doubt.keep(state, self.frame)

    def settle(self) -> None:
        self._go_back(self.doubt.withdraw())

    def _go_back(self, trial: Trial | None) -> None:
        """Hear again what was heard since a trial began."""
        if trial:
            self.known = max(self.known, self.frame * self.timing.frame_size)
            self.beginning, self.frame = trial.state, trial.frame
            self._put_before(trial.frames)

    def _put_before(self, sound: Sequence[np.ndarray]) -> int:
        """Have this heard again before anything else; how many samples it has."""
        self.queue.extendleft(part for part in reversed(sound) if part.size)
        more = sum(part.size for part in sound)
        self.samples, self.again_samples = self.samples + more, self.again_samples + more
        return more

    def take(self, token: int, pauses: list[float], probability: float) -> None:
        """What the model said of the next frame -> events, in order.

        Silence that was added brings words out, but is no pause of the speaker's.
        """
        self._computing -= 1
        following = self.steering.push(token, probability)
        frame, self.frame, pcm = self.frame, self.frame + 1, self.frames.popleft()
        size = self.timing.frame_size
        heard = self.words.push(frame, token, probability)
        spoken = bool(self.words.pieces)
        certain, in_vain = self.doubt.push(heard, token, probability, pcm, following)
        if self._tell_words(certain):
            self.turns.word()
        audio, time = self.clock.is_audio(frame * size), self.clock.seconds((frame + 1) * size)
        if frame >= self.watched:
            self.watched = frame + 1
            stalled = self.guard.push(frame, pcm, audio=audio, spoken=spoken, pauses=pauses)
            if stalled and not in_vain:
                self._ask(Task("renew", self.clock.seconds(max((frame + 1) * size, self.known))))
        if frame * size >= self.known:  # what is heard again has been told
            if self.energy:
                pauses = self.energy.push(pcm)
            if audio:
                self._tell_pause(time, dict(zip(LENGTHS, pauses, strict=False)))
        self._go_back(in_vain)
        self.clock.forget(min(frame, self.doubt.since(self.frame), self.guard.first) * size)

    def _ask(self, task: Task) -> None:
        """Have a task done before anything else, once."""
        if not (self.queue and isinstance(self.queue[0], Task) and self.queue[0].kind == task.kind):
            self.queue.appendleft(task)

    def _tell_words(self, heard: Iterable[HeardWord]) -> bool:
        """Whether there was a new one."""
        words = [self._word(word) for word in heard if self.guard.word(word)]
        self._tell(words)
        return bool(words)

    def _tell_pause(self, time: float, probabilities: dict[float, float]) -> None:
        self._show_partial(time)
        self._tell([Pause(time, probabilities)])
        if self.turns.push(probabilities):
            self._tell([EndOfTurn(time)])

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
        start, end = (self.clock.seconds(max(t * size, self.floor)) for t in (word.start, word.end))
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
