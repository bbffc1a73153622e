"""The guard against stalls: somebody speaks, and the model says nothing for seconds on end.

Kyutai's stt-1b is known to do so now and then, and pause heads believe in what the words say. Then
the row starts afresh and hears again what was lost. Here are the rules and the sound that may be
needed; `Session` does the rest. Pure Python, and the level of each frame.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from statistics import pstdev
from typing import Any, NamedTuple

import numpy as np

from dsm_mlx.stt.loudness import Loudness, Sounding
from dsm_mlx.stt.words import HeardWord

_LEAD = 5  # frames, heard again before the first one with speech
_LATE = 6  # frames by which a word may come later than the model's delay
_PAUSE = 3  # frames in a row without speech
_BACK = 25  # frames, the most between the start of the last word and where hearing again begins
_SAME = 5  # frames within which the same word is the one that has been told
_ENOUGH = 3  # words that show that a renewal was of use
_DOUBTED = 0.5  # what a frame with speech counts of which the model says that it is a pause
_LEAST = -68.0  # decibels, below which nothing is speech
_HISSES = 0.035  # standard deviation of the share of samples at which the sign changes


@dataclass(frozen=True)
class GuardPolicy:
    """When a row is renewed. All are seconds.

    speech: of it without a word, after which the model is taken to have stalled; half of it where
    silence is added, because no more may come. patience: to wait for a pause then. kept: of sound,
    the most that is heard again. rest: after a renewal that brought no words, until there may be
    another; it doubles each time, up to `longest`.
    """

    speech: float = 4.0
    patience: float = 2.0
    kept: float = 20.0
    rest: float = 20.0
    longest: float = 640.0


class Kept(NamedTuple):
    """A frame as the model heard it, float32 (frame_size,): what it counts as speech, 0 to 1,
    whether its level differs from the one before it, and how much of it hisses."""

    pcm: np.ndarray
    speech: float
    moves: bool
    hiss: float


_NOTHING = Sounding(-120.0, False, False, 0.0)


class Guard:
    """Watches one row. Frames are counted as the row hears them, what it hears again included.

    frame_rate: frames a second. delay: of the text, in frames.
    """

    def __init__(self, frame_rate: float, delay: int, policy: GuardPolicy | None = None):
        self._policy = policy = policy or GuardPolicy()
        self._rate, self._delay = frame_rate, delay
        self._most = round(policy.kept * frame_rate) + delay
        self.loudness = Loudness(_LEAST)
        self.kept: deque[Kept] = deque()
        self.first = 0  # the number of the first frame that is kept
        self.silent = 0  # the first frame after the last token of a word
        self.stalled: int | None = None  # since which frame
        self.rests = 0  # up to that frame there is no other renewal
        self.rest = policy.rest  # after the next one, in seconds
        self.words = 0  # that were new, since the last renewal
        self.last: HeardWord | None = None
        self.before: HeardWord | None = None  # a renewal, the last word; None: a new one came
        self.put_off = 0  # frames by which that word would come later where it is heard again

    def push(
        self, frame: int, pcm: np.ndarray, *, audio: bool, spoken: bool, pauses: list[float]
    ) -> bool:
        """A frame that was heard -> whether the row is to be renewed.

        audio: it is the caller's, not silence that was added. spoken: a word is in progress.
        pauses: what the model itself says; empty where it has no heads.
        """
        _, loud, moves, hiss = self.loudness.push(pcm) if audio else _NOTHING
        doubted = bool(pauses) and pauses[0] > 0.5
        self.kept.append(Kept(pcm, loud * (_DOUBTED if doubted else 1.0), moves, hiss))
        self._forget()
        if spoken:
            self.silent, self.stalled = max(self.silent, frame + 2 - self._delay), None
            return False
        if self.stalled is None:
            least = self._policy.speech * (1.0 if audio else 0.5)
            if frame < self.rests or not self._unheard(frame, least):
                return False
            self.stalled = frame
        last = list(self.kept)[-_PAUSE:]
        waited = (frame - self.stalled) / self._rate
        return not any(kept.speech for kept in last) or waited >= self._policy.patience

    def word(self, word: HeardWord) -> bool:
        """A word that the model said -> whether it is a new one, or one told before a renewal."""
        told = self.before
        if told is not None:
            start, end = told.start + self.put_off, told.end + self.put_off
            if word.start < end or (word.text == told.text and word.start < start + _SAME):
                return False
        self.words += 1
        self.stalled = self.before = None
        if self.words == _ENOUGH:
            self.rest, self.rests = self._policy.rest, 0
        # One word more than the last: of the first one heard again, the beginning is missing.
        start = word.start if self.last is None else self.last.start
        self._forget(max(start, word.start - _BACK) - _LEAD)
        self.last = word
        return True

    def renew(self, frame: int, silence: int) -> list[np.ndarray]:
        """The row starts afresh before `frame`: the frames that it hears again, after so many of
        silence."""
        again = [kept.pcm for kept in self.kept]
        put_off = silence + frame - self.first
        if self.before is not None:
            self.put_off += put_off  # of a word told before two renewals
        else:
            self.before, self.put_off = self.last, put_off
        self.restart(frame)
        self.rests = frame + put_off + round(self.rest * self._rate)
        self.rest = min(2 * self.rest, self._policy.longest)
        self.words = 0
        return again

    def restart(self, frame: int) -> None:
        """Nothing before `frame` will be heard again."""
        self.kept.clear()
        self.first = self.silent = frame
        self.stalled = self.last = None

    def _unheard(self, frame: int, least: float) -> bool:
        """Whether there are so many seconds of speech whose words should have come by now."""
        end = frame - self._delay - _LATE - self.first
        since = islice(self.kept, max(0, self.silent - self.first), max(0, end))
        found = [kept for kept in since if kept.speech]
        if sum(kept.speech for kept in found) < least * self._rate:
            return False
        moving = 2 * sum(kept.moves for kept in found) >= len(found)
        return moving and pstdev(kept.hiss for kept in found) >= _HISSES

    def _forget(self, before: int | None = None) -> None:
        """Keep no more frames than may be needed: none of a silence but its end."""
        if not any(kept.speech for kept in islice(reversed(self.kept), _BACK)):
            told = max(0, self.silent + _LATE - self.first)
            if not any(kept.speech for kept in islice(self.kept, told, None)):
                before = self.first + len(self.kept) - _LEAD
        while self.kept and (
            len(self.kept) > self._most
            or (before is not None and self.first < before)
            or (len(self.kept) > _LEAD and not any(k.speech for k in islice(self.kept, _LEAD + 1)))
        ):
            self.kept.popleft()
            self.first += 1

    # ---- as a value

    def plain(self) -> dict[str, Any]:
        """All that it knows, as JSON can hold it, but for the sound of `kept`."""
        return {
            "recent": list(self.loudness.recent),
            "kept": [list(kept[1:]) for kept in self.kept],
            "counts": [self.first, self.silent, self.stalled, self.rests, self.rest, self.words],
            "told": [self.last and list(self.last), self.before and list(self.before)],
            "put_off": self.put_off,
        }

    def restore(self, values: dict[str, Any], sound: list[np.ndarray]) -> None:
        """What `plain` gave, and the sound of each frame kept."""
        self.loudness.recent.extend(values["recent"])
        self.kept.extend(
            Kept(pcm, *flags) for pcm, flags in zip(sound, values["kept"], strict=True)
        )
        self.first, self.silent, self.stalled, self.rests, self.rest, self.words = values["counts"]
        self.last, self.before = (word and HeardWord(*word) for word in values["told"])
        self.put_off = values["put_off"]
