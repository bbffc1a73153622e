"""From positions in what the model heard to seconds of the caller's sound."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_REMEMBERED = 16  # changes before the present one: words lag by a few seconds at most


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


class Clock:
    """The two differ by the silence that the library adds (a prefix, a flush): the clock stands
    still then. Positions and lengths are in samples."""

    def __init__(self, sample_rate: int):
        self._rate = sample_rate
        self.heard = self.audio = 0
        # (position heard, position in the audio, whether the audio advances from there on)
        self.changes: deque[tuple[int, int, bool]] = deque([(0, 0, True)])

    def advance(self, samples: int, *, audio: bool) -> None:
        """`samples` more will be heard: the caller's audio, or silence that was added."""
        if samples and audio != self.changes[-1][2]:
            self.changes.append((self.heard, self.audio, audio))
        self.heard += samples
        self.audio += samples if audio else 0

    def repeat(self, start: int, end: int, silence: int) -> None:
        """What lies from `start` to `end`, up to which all has been heard, will be heard again
        after so much silence; what is to come is put off by that."""
        put_off = silence + end - start
        known = [(start, *self._at(start)), *(c for c in self.changes if start < c[0] < end)]
        later = [(end, *self._at(end)), *(c for c in self.changes if c[0] > end)]
        before = [change for change in self.changes if change[0] < end]
        before.append((end, known[0][1], False))
        put = [(heard + put_off, audio, on) for heard, audio, on in (*known, *later)]
        self.changes = deque([*before, *put])
        self.heard += put_off

    def seconds(self, position: int) -> float:
        """Seconds of audio at a position of what was heard."""
        return self._at(position)[0] / self._rate

    def is_audio(self, position: int) -> bool:
        """Whether the caller's audio was heard at a position, not silence that was added."""
        return self._change(position)[2]

    def audio_within(self, start: int, end: int) -> list[tuple[int, int]]:
        """From where to where the caller's audio is heard, between two positions."""
        starts = [start, *(c[0] for c in self.changes if start < c[0] < end)]
        parts = zip(starts, [*starts[1:], end], strict=True)
        return [part for part in parts if self.is_audio(part[0])]

    def forget(self, position: int) -> None:
        """Nothing much older than `position` will be asked for."""
        while len(self.changes) > _REMEMBERED and self.changes[_REMEMBERED][0] <= position:
            self.changes.popleft()

    def _at(self, position: int) -> tuple[int, bool]:
        """The position in the audio, and whether it advances from there on."""
        heard, audio, advances = self._change(position)
        return audio + (position - heard if advances else 0), advances

    def _change(self, position: int) -> tuple[int, int, bool]:
        known = (change for change in reversed(self.changes) if change[0] <= position)
        return next(known, (position, 0, False))

    @property
    def now(self) -> float:
        """Seconds of audio given so far."""
        return self.audio / self._rate
