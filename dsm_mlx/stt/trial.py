"""A phrase that was begun only because it is preferred: in doubt until it is whole.

While it is, its words are kept back. Where it breaks off, the row goes back to before it began and
hears the same sound again, without having been talked into it. Plain Python; the row's state is a
value that is only kept here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.stt.steering import Following, Steering
from dsm_mlx.stt.words import HeardWord, WordReader

_PATIENCE = 1.5  # seconds without another piece of the phrase


@dataclass
class Trial:
    """All that a row has to go back to, and what it has heard and said since.

    state: of the row before `frame`, in which the phrase began. words, steering: what `plain` of
    the `WordReader` and the `Steering` gave then. frames: of sound since, float32 (frame_size,).
    held: words since, which nobody has been told. waits: frames without a piece of the phrase.
    """

    state: Any
    frame: int
    words: list
    steering: list
    frames: list[np.ndarray] = field(default_factory=list)
    held: list[HeardWord] = field(default_factory=list)
    waits: int = 0


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
        self, heard: list[HeardWord], token: int, pcm: np.ndarray, following: Following
    ) -> tuple[list[HeardWord], Trial | None]:
        """A frame has been heard. heard: the words that it ended. following: what became of the
        phrase that was followed.

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
        trial.waits = trial.waits + 1 if token in (NEW_WORD, PADDING) else 0
        if following is Following.WHOLE:
            return self.trust(), None
        if following is Following.BROKEN or trial.waits > _PATIENCE * self._rate:
            return [], self.give_up()
        return [], None

    def conclude(self) -> tuple[list[HeardWord], Trial | None]:
        """Nothing follows. Returns what `push` does."""
        if self._steering.is_whole:
            return self.trust(), None
        return [], self.give_up()

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
