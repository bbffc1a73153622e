"""How recordings are read: which part of them, and whether each channel is heard by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from dsm_mlx.audio import Part, Sound
from dsm_mlx.checks import check_text
from dsm_mlx.messages import shown
from dsm_mlx.results import EndOfTurn, Event, Mark, Pause, Word

Channels = Literal["mix", "split"]
CHANNELS = ("mix", "split")


@dataclass(frozen=True)
class Row:
    """What one row of the batch hears: blocks of float32 pcm (samples,), and whose they are."""

    blocks: Iterator[np.ndarray]
    speaker: str | None = None


@dataclass(frozen=True)
class Reading:
    """sample_rate: of arrays. target: of what is heard. part: which is read. split: whether every
    channel has a row of its own. speakers: the names of the channels.

    The channels of a recording that is split are read one by one, each from the file again: their
    rows need not keep step then, whatever a batch does with them, and no sound is kept for one that
    waits. Decoding costs little beside hearing. A stream, which comes once, is kept as it is in its
    file, not decoded.
    """

    sample_rate: float | None
    target: int
    part: Part
    split: bool = False
    speakers: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        sample_rate: float | None,
        target: int,
        *,
        channels: Channels,
        speakers: Sequence[str] | None,
        track: int,
        start: float,
        end: float | None,
    ) -> Reading:
        """From what a caller gave: ValueError or TypeError that names the argument."""
        if channels not in CHANNELS:
            raise ValueError(f"channels is {shown(channels)} (expected 'mix' or 'split')")
        if isinstance(speakers, str) or not isinstance(speakers, Sequence | None):
            raise TypeError(f"speakers is {shown(speakers)} (expected a list of names)")
        if speakers and channels == "mix":
            raise ValueError('speakers are the names of channels (expected with channels="split")')
        for speaker in speakers or ():
            check_text("the name of a speaker", speaker)
        part = Part(track, start, end)
        return cls(sample_rate, target, part, channels == "split", tuple(speakers or ()))

    def rows(self, audio: Any) -> list[Row]:
        """What is to be heard of a recording. What is wrong with it is told when it is read."""
        if not self.split:
            return [Row(self._blocks(audio))]
        name = getattr(audio, "name", None)
        options = {"name": name} if isinstance(name, str) else {}
        try:
            if hasattr(audio, "read") and isinstance(data := audio.read(), bytes):
                audio = data
            with Sound(audio, self.sample_rate, part=self.part) as sound:
                count = sound.channels
        except Exception:
            count = 1
        channels = range(1, count + 1)
        return [Row(self._blocks(audio, k, **options), self._speaker(k)) for k in channels]

    def _speaker(self, channel: int) -> str:
        named = channel <= len(self.speakers)
        return self.speakers[channel - 1] if named else f"channel {channel}"

    def _blocks(
        self, audio: Any, channel: int | None = None, **options: Any
    ) -> Iterator[np.ndarray]:
        with Sound(
            audio,
            self.sample_rate,
            target=self.target,
            part=self.part,
            channel=channel,
            **options,
        ) as sound:
            yield from sound.blocks()


def placed(event: Event, start: float, speaker: str | None) -> Event:
    """An event of sound that begins at `start` seconds of its file, said by `speaker`."""
    if isinstance(event, Mark) or not (start or speaker):
        return event
    if isinstance(event, Word):
        begin, end = round(event.start + start, 3), round(event.end + start, 3)
        return replace(event, start=begin, end=end, speaker=speaker)
    event = replace(event, time=round(event.time + start, 3))
    return replace(event, speaker=speaker) if isinstance(event, Pause | EndOfTurn) else event
