"""A phrase that was begun only because it is preferred: in doubt until it is whole.

While it is, its words are kept back. Where it breaks off, the row goes back to before it began and
hears the same sound again, without having been talked into it. Plain Python; the row's state is a
value that is only kept here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.stt.steering import Following, Steering
from dsm_mlx.stt.words import HeardWord, WordReader, log_of

_PATIENCE = 1.5  # seconds without another piece of the phrase
_BELIEVED = 3e-4  # the geometric mean of the probabilities of a phrase's pieces, at least


@dataclass
class Trial:
    """All that a row has to go back to, and what it has heard and said since.

    state: of the row before `frame`, in which the phrase began. words, steering: what `plain` of
    the `WordReader` and the `Steering` gave then. frames: of sound since, float32 (frame_size,).
    held: words since, which nobody has been told. waits: frames without a piece of the phrase.
    logs: of the probabilities that the model itself gave its pieces.
    """

    state: Any
    frame: int
    words: list
    steering: list
    frames: list[np.ndarray] = field(default_factory=list)
    held: list[HeardWord] = field(default_factory=list)
    waits: int = 0
    logs: list[float] = field(default_factory=list)

    @property
    def is_believed(self) -> bool:
        """Whether the phrase, which is whole, is not all too unlikely to the model itself."""
        return sum(self.logs) >= math.log(_BELIEVED) * len(self.logs)


class Doubt:
    """Of one row, about what it says.

    trial: of the phrase that is in doubt, if one is.
    """

    def __init__(self, words: WordReader, steering: Steering, frame_rate: float):
        """words, steering: the row's."""
        self._words, self._steering, self._rate = words, steering, frame_rate
        self.trial: Trial | None = None
        self._before: Trial | None = None  # what the next frame may have to be taken back to

    @property
    def keeps(self) -> bool:
        """Whether a phrase may begin with the next frame: its row's state should be kept."""
        return self.trial is None and self._steering.prefers

    def since(self, frame: int) -> int:
        """The frame in which the phrase in doubt began, or the one that is given."""
        return self.trial.frame if self.trial else frame

    def keep(self, state: Any, frame: int) -> None:
        """The state of the row before a frame."""
        self._before = Trial(state, frame, self._words.plain(), self._steering.plain())

    def push(
        self,
        heard: list[HeardWord],
        token: int,
        probability: float,
        pcm: np.ndarray,
        following: Following,
    ) -> tuple[list[HeardWord], Trial | None]:
        """A frame has been heard. heard: the words that it ended. probability: that the model gave
        its token. following: what became of the phrase that was followed.

        Returns the words that are certain, and the trial that was in vain: the row has to go back
        to where that began.
        """
        before, self._before = self._before, None
        if self.trial is None:
            if before is None or not self._steering.tries:
                return heard, None
            self.trial, following = before, Following.NONE  # it was about another phrase
        trial = self.trial
        trial.frames.append(pcm)
        trial.held += heard
        if following is Following.WHOLE:
            return self._judged(trial)
        if token in (NEW_WORD, PADDING):
            trial.waits += 1
        else:
            trial.waits = 0
            trial.logs.append(log_of(probability))
        if following is Following.BROKEN or trial.waits > _PATIENCE * self._rate:
            return [], self.give_up()
        return [], None

    def conclude(self) -> tuple[list[HeardWord], Trial | None]:
        """Nothing follows. Returns what `push` does."""
        if self.trial and self._steering.is_whole:
            return self._judged(self.trial)
        return [], self.give_up()

    def _judged(self, trial: Trial) -> tuple[list[HeardWord], Trial | None]:
        """The phrase is whole."""
        return (self.trust(), None) if trial.is_believed else ([], self.give_up())

    def trust(self) -> list[HeardWord]:
        """There is no doubt any more; the words that were kept back."""
        trial, self.trial = self.trial, None
        return trial.held if trial else []

    def give_up(self) -> Trial | None:
        """The phrase shall not have been begun; the trial, which is over."""
        trial = self.withdraw()
        if trial:
            self._steering.skip()
        return trial

    def withdraw(self) -> Trial | None:
        """What was said since the phrase began shall not have been said yet; the same will be,
        when the row has gone back."""
        trial, self.trial = self.trial, None
        if trial:
            self._words.restore(trial.words)
            self._steering.restore(trial.steering)
        return trial

    def forget(self) -> None:
        """Hold nothing."""
        self.trial = self._before = None
