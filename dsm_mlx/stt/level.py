"""Level and offset of the caller's sound, put right where they are far off: `gain="auto"`.

One frame at a time, from what has come so far. Only the first soft frames of speech are held back
until their level is known, so that no word is lost before it is. Sound of a right level passes bit
for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsm_mlx.audio.meter import decibels
from dsm_mlx.messages import shown
from dsm_mlx.stt.loudness import Loudness

# All levels and gains are decibels.
LOW, HIGH = -27.0, -6.0  # speech between them is left alone
AIM = -18.0  # where speech is brought that is far below or above
MOST = 40.0  # of gain, up or down
_STEEP = 3.0  # how fast the gain grows outside of them, in decibels a decibel, up to the aim
AHEAD = 6  # frames that are looked at, at most, while the level is not known
_LEAST = -80.0  # nothing below it is speech
_NOISE = -46.0  # the background is not raised above it
_STEP = 6.0  # the most that the gain changes in a frame when it has been found
_BEGIN, _KNOWN, _SURE = 2, 4, 5  # frames with speech: its level may be known, is, is certain
_ONSET = 3.0  # by which a frame is louder than those before it, while a word begins
_RISE, _FALL = 0.25, 0.02  # shares of a frame in the level, after that
_OFFSET_FRAMES = 25  # over which the offset is found
_OFFSET, _OFFSET_LATER = 20.0, 30.0  # below the speech: from there it is corrected, up to there
_OFFSET_BEFORE = -50.0  # from there, while there was no speech
_KNEE, _PEAK = 0.8, 0.98  # amplitudes


def check_gain(gain: Any) -> None:
    """ValueError unless it is None or "auto"."""
    if gain is not None and gain != "auto":
        raise ValueError(f'gain is {shown(gain)} (expected None or "auto")')


def gain_for(speech: float) -> float:
    """The gain for speech of that level: none between LOW and HIGH, and so much that it comes to
    AIM where it is far off."""
    if LOW <= speech <= HIGH:
        return 0.0
    if speech < LOW:
        return min(AIM - speech, _STEEP * (LOW - speech), MOST)
    return max(AIM - speech, _STEEP * (HIGH - speech), -MOST)


class Level:
    """Watches one stream of sound, and corrects it.

    The offset is a running mean. The level of speech is a running mean of the frames that may be
    speech: it rises soon, falls slowly and stands still in pauses, so that they are not pumped up.
    What is loud after that is bent, never cut.
    """

    def __init__(self) -> None:
        self.loudness = Loudness(_LEAST)
        self.frames = self.spoken = 0  # that were heard, and of these that may be speech
        self.known = False  # how loud they are
        self.speech = AIM
        self.offset = 0.0
        self.corrects = False  # the offset
        self.last = 0.0, 0.0  # gain, and offset taken away, at the end of the last frame

    def waits(self, frames: Sequence[np.ndarray]) -> bool:
        """Whether the first of these frames begins something soft whose level they do not tell."""
        if self.sure or not frames:
            return False
        seen = copy.deepcopy(self)
        seen._measure(frames[0])
        return bool(seen.spoken) and not seen._settled_by(frames[1 : AHEAD + 1])

    def push(self, pcm: np.ndarray, ahead: Sequence[np.ndarray] = ()) -> np.ndarray:
        """float32 pcm (samples,), a frame or a part of one, and those that follow as far as they
        are there -> as it shall be heard."""
        if not pcm.size:
            return pcm
        self._measure(pcm)
        seen = self
        if self.spoken and not self.sure:
            seen = copy.deepcopy(self)
            seen._settled_by(ahead[:AHEAD])
        first, self.last = self.last, self._wanted(pcm, seen)
        if self.frames == 1:
            first = self.last  # an offset was there before the sound began
        if not any((*first, *self.last)):
            return pcm
        ramp = np.arange(1, pcm.size + 1, dtype=np.float32) / np.float32(pcm.size)
        start, end = (np.float32(10 ** (gain / 20)) for gain, _ in (first, self.last))
        pcm = pcm - (np.float32(first[1]) + ramp * np.float32(self.last[1] - first[1]))
        return _limited(pcm * (start + ramp * (end - start)))

    def _settled_by(self, frames: Sequence[np.ndarray]) -> bool:
        """Measure until the level is certain, or loud enough to be right."""
        for frame in frames:
            if self.sure or self.speech >= LOW:
                break
            self._measure(frame)
        return self.sure or self.speech >= LOW

    @property
    def sure(self) -> bool:
        """Whether the level of the speech is certain."""
        return self.spoken >= _SURE

    def _measure(self, pcm: np.ndarray) -> None:
        self.frames += 1
        share = 1 / min(self.frames, _OFFSET_FRAMES)
        self.offset += share * (float(pcm.mean()) - self.offset)
        level, loud, moves, _ = self.loudness.push(pcm)
        if loud and moves:
            self.spoken += 1
            self._speak(level)

    def _speak(self, level: float) -> None:
        """A frame that may be speech. Words begin softly: what rises fast does not count yet."""
        if self.spoken == 1:
            self.speech = level
        elif self.spoken <= _SURE:
            steady = self.spoken >= _BEGIN and level < self.speech + _ONSET
            self.known = self.known or steady or self.spoken >= _KNOWN
            self.speech = max(self.speech, level)
        else:
            share = _RISE if level > self.speech else _FALL
            self.speech += share * (level - self.speech)

    def _wanted(self, pcm: np.ndarray, seen: Level) -> tuple[float, float]:
        """The gain and the offset to take away at the end of this frame; `seen`: what is known of
        the speech, from later frames, too."""
        # Not before it is known: a word begins softly in sound of a right level, too, and a first
        # frame that is raised costs that word.
        gain = gain_for(seen.speech) if seen.known else 0.0
        if not self.sure:
            gain = max(gain, 0.0)
        else:
            gain = min(max(gain, self.last[0] - _STEP), self.last[0] + _STEP)
        if gain > 0:  # and no sample has to be bent
            room = decibels(_KNEE) - decibels(float(np.abs(pcm - np.float32(self.offset)).max()))
            gain = max(0.0, min(gain, room, _NOISE - self.loudness.background))
        below = _OFFSET_LATER if self.corrects else _OFFSET
        least = (self.speech if self.known else max(self.loudness.recent)) - below
        if not self.known:
            least = max(least, _OFFSET_BEFORE)
        self.corrects = decibels(abs(self.offset)) > least
        return gain, self.offset * self.corrects

    # ---- as a value

    def plain(self) -> dict[str, Any]:
        """All that it knows, as JSON can hold it."""
        known = self.frames, self.spoken, self.known, self.speech, self.offset, self.corrects
        return {
            "recent": list(self.loudness.recent),
            "known": list(known),
            "last": list(self.last),
        }

    def restore(self, values: dict[str, Any]) -> None:
        """What `plain` gave."""
        self.loudness.recent.extend(values["recent"])
        self.frames, self.spoken, self.known, *rest = values["known"]
        self.speech, self.offset, self.corrects = rest
        gain, offset = values["last"]
        self.last = gain, offset


def _limited(pcm: np.ndarray) -> np.ndarray:
    """What is above the knee bent below the peak; the rest as it is."""
    loud = np.abs(pcm)
    if loud.max() <= _KNEE:
        return pcm
    over = np.float32(_PEAK - _KNEE)
    bent = np.float32(_KNEE) + over * np.tanh((loud - np.float32(_KNEE)) / over)
    return np.where(loud > _KNEE, np.copysign(bent, pcm), pcm)
