"""What one row says: its script, its voice's prefix, its clock and its words. No device work."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.tokens import NOTHING, UNGENERATED
from dsm_mlx.results import Chunk, Word
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.session import Session as RuntimeSession
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.script import Entry, ScriptReader
from dsm_mlx.tts.text.reader import WrittenReader

_FADE_SECONDS = 0.02
_MOST_WAITING = 2.0  # seconds of sound that wait to be taken: then no more is made
_URGENT = 0.5  # seconds of sound with which a listener can wait for others
log = logging.getLogger("dsm_mlx")


class LiveText:
    """Text that may still be growing, and the decisions made from it. Safe for two threads: one
    that feeds, one that steps."""

    def __init__(self, reader: ScriptReader | WrittenReader, machine: ScriptMachine):
        self._reader, self._machine = reader, machine
        self._reading = threading.Lock()  # a long text takes a while to read
        self._lock = threading.Lock()  # for the machine alone: who steps must not wait for that
        self._ended = False
        self._words = 0  # known and not begun

    def feed(self, text: str) -> None:
        """More text. ValueError if it holds an unknown tag, or after the end."""
        with self._reading:
            if self._ended:
                raise ValueError("text was fed after end()")
            entries: list[Entry] = []
            try:
                self._reader.feed(text, entries)
            finally:  # of a text with a bad tag the rest is said
                self._add(entries)

    def turn(self, speaker: int) -> None:
        """Speaker number `speaker` goes on."""
        with self._reading:
            entries: list[Entry] = []
            try:
                self._reader.turn(speaker, entries)
            finally:
                self._add(entries)

    def end(self) -> None:
        """No more text follows. ValueError if it ends inside a break tag."""
        with self._reading:
            if not self._ended:
                self._ended = True
                entries: list[Entry] = []
                try:
                    self._reader.end(entries)
                finally:
                    self._add(entries)
                    with self._lock:
                        self._machine.end()

    def _add(self, entries: list[Entry]) -> None:
        with self._lock:
            self._machine.add(entries)
            self._words += sum(entry.begins for entry in entries)

    @property
    def blocked(self) -> bool:
        with self._lock:
            return self._machine.blocked

    @property
    def empty(self) -> bool:
        with self._lock:
            return self._machine.empty

    @property
    def nothing_said(self) -> bool:
        """Whether there is neither a word nor a break in all of it."""
        return self._reader.nothing_said

    @property
    def left_out(self) -> tuple[str, ...]:
        """Words of which nothing can be said; the first ones."""
        return self._reader.left_out

    @property
    def words(self) -> int:
        """How many words are known and have not begun."""
        return self._words

    @property
    def goes_on(self) -> bool:
        """As `ScriptMachine.goes_on`."""
        with self._lock:
            return self._machine.goes_on

    @property
    def end_step(self) -> int | None:
        return self._machine.end_step

    @property
    def offered(self) -> tuple[int, int]:
        """As `ScriptMachine.offered`."""
        with self._lock:
            return self._machine.offered

    def step(self, step: int, token: int) -> tuple[int, Entry | None]:
        """As `ScriptMachine.step`."""
        with self._lock:
            token, entry = self._machine.step(step, token)
            self._words -= bool(entry and entry.begins)
            return token, entry

    def copy(self) -> LiveText:
        """The same text, to go on by itself."""
        with self._reading, self._lock:
            other = LiveText(self._reader.copy(), self._machine.copy())
            other._ended, other._words = self._ended, self._words
            return other


@dataclass(frozen=True)
class Timing:
    """The constants of a model's clock, in steps if not said otherwise.

    delay_steps: by which sound lags text. pattern: of the codebooks beyond that.
    final_padding: how long the model goes on after the last word.
    """

    delay_steps: int
    pattern: DelayPattern
    frame_rate: float
    sample_rate: int
    final_padding: int = 4

    def frames(self, seconds: float) -> int:
        """Whole frames of sound that are no longer than that."""
        return int(seconds * self.frame_rate + 1e-6)  # 0.56 s are seven of them


@dataclass
class _Spoken:
    """A word, with its start and end in frames of sound; several: so many are said for it."""

    text: str
    start: int
    end: int | None = None
    several: bool = False


class Session(RuntimeSession):
    """One row's host side.

    Args:
        beginning: the state of a row that has said nothing but its voice's prefix.
        keys_values: of the voice's condition and of the empty one, where the model attends to
            them.
        prefix: int32 (codebooks, frames), codes of the voice's own sound, which the model has
            already heard; the row begins after them.
        keep_words: collect all words in `words`, for text that has an end.
        max_seconds: of sound at most, in whole frames; None: as much as the text needs.
    """

    def __init__(
        self,
        beginning: Any,
        keys_values: Sequence[list[dict]],
        script: LiveText,
        timing: Timing,
        prefix: np.ndarray | None = None,
        keep_words: bool = False,
        *,
        live: bool = True,
        changed: Changed | None = None,
        max_seconds: float | None = None,
    ):
        super().__init__(beginning, live=live, changed=changed)
        self.keys_values = keys_values
        self.script, self._timing, self._prefix = script, timing, prefix
        self.first = 0 if prefix is None else prefix.shape[1]
        self._step = self.first
        self._most = None if max_seconds is None else timing.frames(max_seconds)
        self.home: Any = None  # the batch that it may join
        self.chunks: deque[Chunk] = deque()
        self._computing = 0
        self._kept: list[_Spoken] | None = [] if keep_words else None
        self._waiting: deque[_Spoken] = deque()
        self._latest: _Spoken | None = None
        self._began = False
        self._made = 0
        self._fade = np.linspace(1, 0, round(_FADE_SECONDS * timing.sample_rate), dtype=np.float32)

    def let_go(self) -> None:
        super().let_go()
        self.home = None

    @property
    def ready(self) -> bool:
        full = self.live and len(self.chunks) >= _MOST_WAITING * self._timing.frame_rate
        return not (full or self.done or self.script.blocked)

    @property
    def urgent(self) -> bool:
        return self.live and len(self.chunks) < _URGENT * self._timing.frame_rate

    @property
    def over(self) -> bool:
        """Nothing more will be said: all chunks there will be are there."""
        return self.gone or (self.done and not self._computing)

    @property
    def settled(self) -> bool:
        """Nothing more will be said before more text comes."""
        return self.over or (self.script.blocked and not self._computing)

    @property
    def frames_waiting(self) -> int:
        """Frames of it that could be computed now, as far as that is known: one or none."""
        return int(self.ready)

    def again(self, state: Any) -> Session:
        """Another session that goes on as this one, from its row's state. On the worker's thread,
        between two frames."""
        with self.changed:
            other = Session(state, self.keys_values, self.script.copy(), self._timing, self._prefix)
            other.home, other._step, other._made = self.home, self._step, self._made
            other._most = self._most
            other._began, other.chunks = self._began, deque(self.chunks)
            other._waiting, other._latest = deepcopy((self._waiting, self._latest))
        return other

    def begin_frame(self) -> None:
        """A frame of it is being computed from now on, until `end_frame`."""
        self._computing += 1

    def end_frame(self) -> None:
        self._computing -= 1

    @property
    def done(self) -> bool:
        """All is said; the row needs no further step. Of an empty text nothing is said."""
        if not self._began and self.script.empty:
            return True
        last = self._last_step
        return last is not None and self._step > last

    @property
    def _last_step(self) -> int | None:
        """The step after which the session is over, as far as that is known."""
        end, limit = self._end_of_text, self._limit
        known = [step for step in (end, limit) if step is not None]
        return min(known, default=None)

    @property
    def _end_of_text(self) -> int | None:
        end = self.script.end_step
        if end is None:
            return None
        return end + self._timing.delay_steps + self._timing.final_padding - 1

    @property
    def _limit(self) -> int | None:
        """The step that completes the last frame of sound that there may be."""
        return None if self._most is None else self._sounds_from + self._most - 1

    @property
    def cut_short(self) -> bool:
        """Whether the limit came before the end of the text."""
        limit, end = self._limit, self._end_of_text
        return limit is not None and self._step > limit and (end is None or end > limit)

    def warn_if_cut_short(self) -> None:
        """Tell so in the log. For the thread of who takes the sound."""
        if self.cut_short:
            seconds = self._made / self._timing.frame_rate
            log.warning("only the first %.2f s of the text are said (max_seconds)", seconds)

    @property
    def needs_depth(self) -> bool:
        """Whether codes of the model's own are needed in the next step."""
        return self._step >= self._timing.delay_steps + self.first

    @property
    def sounds(self) -> bool:
        """Whether the next step completes a frame of sound."""
        return self._step >= self._sounds_from

    @property
    def _sounds_from(self) -> int:
        """The step that completes the first frame of sound."""
        return self.first + self._timing.delay_steps + self._timing.pattern.longest

    def forced(self) -> np.ndarray:
        """See `forced_codes`; of the next step."""
        return forced_codes(self._prefix, self._step, self._timing)

    @property
    def offered(self) -> tuple[int, int]:
        """What the model is given in this step if it samples NEW_WORD, and what if not."""
        return self.script.offered

    def take(self, token: int) -> None:
        """The text token that the model sampled. Ends the step."""
        step = self._step
        _, entry = self.script.step(step, token)
        frame = step - self.first
        self._began = self._began or entry is not None
        if entry and entry.goes_on:
            entry = None  # the written word that is being said goes on
            if self._latest:
                self._latest.several = True
        if self._latest and (entry or self.script.end_step == step):
            self._latest.end = frame
            self._latest = None
        if entry and entry.tokens:
            self._latest = _Spoken(entry.text, frame)
            self._waiting.append(self._latest)
            if self._kept is not None:
                self._kept.append(self._latest)
        self._step += 1

    def deliver(self, pcm: np.ndarray) -> None:
        """The next frame of sound, float32 (samples,), becomes a chunk with the words that begin
        in it.

        A word's end is where the next one begins; if that is not known yet, how far the text is.
        One for which several are said waits for that.
        """
        frame, self._made = self._made, self._made + 1
        pcm = np.clip(pcm, -1, 1)
        if frame + self._sounds_from == self._last_step:
            pcm[-len(self._fade) :] *= self._fade
        words = []
        while self._waiting and self._waiting[0].start <= frame and not self._goes_on:
            words.append(self._word(self._waiting.popleft()))
        ahead = 0 if self._made == self._most else len(self._waiting) + self.script.words
        self.chunks.append(Chunk(pcm, words, ahead))

    @property
    def _goes_on(self) -> bool:
        """Whether several words are said for the first one that waits, and not all were so far."""
        first = self._waiting[0]
        if first is not self._latest or self._made == self._most:
            return False
        return first.several or self.script.goes_on

    @property
    def words(self) -> list[Word]:
        """All words so far, up to the limit; needs `keep_words`."""
        kept = self._kept or []
        return [self._word(s) for s in kept if self._most is None or s.start < self._most]

    def _word(self, spoken: _Spoken) -> Word:
        rate = self._timing.frame_rate
        end = self._step - self.first if spoken.end is None else spoken.end
        end = end if self._most is None else min(end, self._most)
        return Word(spoken.text, spoken.start / rate, end / rate)


def forced_codes(prefix: np.ndarray | None, step: int, timing: Timing) -> np.ndarray:
    """What is put in the place of the model's own codes in step `step`, int32 (codebooks,): NOTHING
    before a codebook has begun, then those of a prefix; UNGENERATED where the model is free."""
    step -= timing.delay_steps
    free = np.full(len(timing.pattern.delays), UNGENERATED, np.int32)
    codes = free if prefix is None else timing.pattern.lined_up(prefix, step, UNGENERATED)
    return np.where(timing.pattern.begun(step), codes, NOTHING).astype(np.int32)
