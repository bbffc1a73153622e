"""What one stream knows apart from arrays: sound waiting, the clock, words and turns so far."""

from __future__ import annotations

from collections import deque

import numpy as np

from dsm_mlx.results import EndOfTurn, Event, Pause, Word
from dsm_mlx.stt.pauses import LENGTHS, EnergyPauses, TurnDetector
from dsm_mlx.stt.words import HeardWord, WordReader


class Clock:
    """Maps positions in what the model heard to seconds of the caller's audio.

    They differ by the silence that the library adds (a prefix, a flush): it stands still then.
    """

    def __init__(self, sample_rate: int):
        self._rate = sample_rate
        self._heard = self._audio = 0
        # (position heard, position in the audio, whether the audio advances from there on).
        # Words lag by a few seconds at most, so a short memory is enough.
        self._marks: deque[tuple[int, int, bool]] = deque([(0, 0, True)], maxlen=16)

    def advance(self, samples: int, *, audio: bool) -> None:
        """`samples` more will be heard: the caller's audio, or silence that was added."""
        if samples and audio != self._marks[-1][2]:
            self._marks.append((self._heard, self._audio, audio))
        self._heard += samples
        self._audio += samples if audio else 0

    def seconds(self, position: int) -> float:
        """Seconds of audio at a position (in samples) of what was heard."""
        heard, audio, advances = self._mark(position)
        return (audio + (position - heard if advances else 0)) / self._rate

    def is_audio(self, position: int) -> bool:
        """Whether the caller's audio was heard at a position, not silence that was added."""
        return self._mark(position)[2]

    def _mark(self, position: int) -> tuple[int, int, bool]:
        known = (mark for mark in reversed(self._marks) if mark[0] <= position)
        return next(known, (position, 0, False))

    @property
    def now(self) -> float:
        """Seconds of audio given so far."""
        return self._audio / self._rate


class Session:
    """One row's bookkeeping: frames of sound out, tokens in, events out."""

    def __init__(self, *, tokenizer, delay: int, prefix: int, heads: bool, mimi_config):
        """delay: of the text in frames. prefix: samples of silence to put before the sound.

        heads: whether the model gives pause probabilities.
        """
        self._frame_size = mimi_config.frame_size
        self._frame_rate = mimi_config.frame_rate
        self._delay, self._prefix = delay, prefix
        self._words = WordReader(tokenizer, delay)
        self._turns = TurnDetector(self._frame_rate)
        self._energy = None if heads else EnergyPauses(self._frame_rate)
        self._clock = Clock(mimi_config.sample_rate)
        self._waiting: deque[np.ndarray] = deque()
        self._samples = 0
        self._levels: deque[np.ndarray] = deque()
        self._frame = 0
        self.restart()

    def restart(self) -> None:
        """The model starts afresh: give it the silence that it wants first. Times go on."""
        self._turns.restart()
        self._append(np.zeros(self._prefix, np.float32), audio=False)

    def feed(self, pcm: np.ndarray) -> None:
        """Take float32 pcm (samples,) to be heard."""
        self._append(pcm, audio=True)

    def drain(self) -> None:
        """Add the silence that brings out the last word: the delay and a second, whole frames."""
        partial = -self._samples % self._frame_size
        frames = self._delay + round(self._frame_rate)
        self._append(np.zeros(partial + frames * self._frame_size, np.float32), audio=False)

    @property
    def frames_waiting(self) -> int:
        return self._samples // self._frame_size

    @property
    def seconds_given(self) -> float:
        return self._clock.now

    @property
    def partial_word(self) -> str:
        """The word in progress, not yet an event."""
        return self._words.partial

    def next_frame(self) -> np.ndarray | None:
        """The next whole frame, float32 (frame_size,), or None."""
        if not self.frames_waiting:
            return None
        parts, missing = [], self._frame_size
        while missing:
            part = self._waiting.popleft()
            if part.size > missing:
                self._waiting.appendleft(part[missing:])
                part = part[:missing]
            parts.append(part)
            missing -= part.size
        self._samples -= self._frame_size
        frame = np.concatenate(parts)
        if self._energy:
            self._levels.append(frame)
        return frame

    def take(self, token: int, pauses: list[float]) -> list[Event]:
        """What the model said of the next frame -> events, in order.

        Silence that was added brings words out, but is no pause of the speaker's.
        """
        frame, self._frame = self._frame, self._frame + 1
        events: list[Event] = [self._word(word) for word in self._words.push(frame, token)]
        if events:
            self._turns.word()
        if self._energy:
            pauses = self._energy.push(self._levels.popleft())
        if not self._clock.is_audio(frame * self._frame_size):
            return events
        time = self._clock.seconds((frame + 1) * self._frame_size)
        probabilities = dict(zip(LENGTHS, pauses, strict=False))
        events.append(Pause(time, probabilities))
        if LENGTHS[2] in probabilities and self._turns.push(probabilities):
            events.append(EndOfTurn(time))
        return events

    def finish(self) -> list[Event]:
        """The word in progress, when no more sound will come."""
        return [self._word(word) for word in self._words.finish()]

    def _append(self, pcm: np.ndarray, *, audio: bool) -> None:
        self._clock.advance(pcm.size, audio=audio)
        if pcm.size:
            self._waiting.append(pcm)
            self._samples += pcm.size

    def _word(self, word: HeardWord) -> Word:
        start, end = (self._clock.seconds(t * self._frame_size) for t in (word.start, word.end))
        return Word(word.text, round(start, 3), round(end, 3))
