"""What a caller may ask for, where that is more than a number. Plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dsm_mlx.checks import is_number
from dsm_mlx.messages import shown

PAUSE_SECONDS = (0.5, 1.0, 2.0, 3.0)
"""The lengths of silence of which a model tells how likely they are."""


Gain = Literal["auto"] | None
"""Whether the level of sound and its offset are put right where they are far off."""


@dataclass(frozen=True)
class TurnPolicy:
    """When a turn ends.

    It ends when the probability of a pause of `pause` seconds (0.5, 1, 2 or 3) has been above
    `threshold` for `frames` frames in a row, after at least one word; and not again before it has
    fallen below `rearm` and another word has come. ValueError for a value out of range.
    """

    pause: float = 2.0
    threshold: float = 0.5
    frames: int = 3
    rearm: float = 0.3

    def __post_init__(self) -> None:
        if not is_number(self.pause, (int, float)) or self.pause not in PAUSE_SECONDS:
            raise ValueError(f"pause is {shown(self.pause)} (expected one of {PAUSE_SECONDS})")
        for name in ("threshold", "rearm"):
            value = getattr(self, name)
            if not is_number(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"{name} is {shown(value)} (expected a number from 0 to 1)")
        if not is_number(self.frames, int) or self.frames < 1:
            raise ValueError(f"frames is {shown(self.frames)} (expected an integer from 1 up)")


@dataclass(frozen=True, eq=False)
class Prompt:
    """What comes before the sound of a stream or recording: it tells a model how words are spelt,
    who speaks, or in what manner to write.

    text: with `audio`, what is said in it, as it is to be written; without, how the transcript of
        the sound itself begins. It is forced, piece by piece where the model hears it.
    audio: a recording, as `SpeechToText.transcribe` takes it. It is heard first; none of its words
        and none of its time appear in the result.
    sample_rate: of an array.

    TypeError or ValueError for a prompt without text and audio, or a text without words.
    """

    text: str | None = None
    audio: Any = None
    sample_rate: float | None = None

    def __post_init__(self) -> None:
        if self.text is None and self.audio is None:
            raise ValueError("a prompt has neither text nor audio (expected one of them or both)")
        if self.text is not None and not isinstance(self.text, str):
            raise TypeError(f"the prompt's text is {shown(self.text)} (expected str)")
        if self.text is not None and not self.text.strip():
            raise ValueError(f"the prompt's text is {shown(self.text)} (expected words)")
