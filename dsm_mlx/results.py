"""What comes out: plain values, free of models and devices. All times are seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dsm_mlx.messages import shown

if TYPE_CHECKING:
    from os import PathLike

    import numpy as np

    from dsm_mlx.captions import CaptionStyle

_SHOWN = 40  # characters of text in a repr


@dataclass(frozen=True)
class Word:
    """A word and the span of audio in which it is spoken, from `start` to `end` in seconds.

    `confidence`, where the model gives one, is between 0 and 1: the geometric mean of the
    probabilities of the word's tokens. It does not count when words are compared. `speaker`: the
    name of who speaks, where each channel of a recording was heard by itself.
    """

    text: str
    start: float
    end: float
    confidence: float | None = field(default=None, compare=False)
    speaker: str | None = None


@dataclass(frozen=True)
class Partial:
    """The word in progress, as far as it is known at `time`; it may still change."""

    text: str
    time: float


@dataclass(frozen=True)
class Pause:
    """How likely it is, at `time`, that nobody speaks for 0.5, 1, 2 and 3 seconds.

    `probabilities` maps the length of the silence in seconds to a value between 0 and 1.
    `speaker`: as of a `Word`.
    """

    time: float
    probabilities: dict[float, float]
    speaker: str | None = None


@dataclass(frozen=True)
class EndOfTurn:
    """The speaker has finished: `time` is when that became clear. `speaker`: as of a `Word`."""

    time: float
    speaker: str | None = None


@dataclass(frozen=True)
class Mark:
    """Everything before `TranscriptStream.mark(value)` has been heard: all events of the whole
    frames before it came before this one, and after a `flush` every word.

    value: what `mark` was given, the very object; after `save` and `resume` an equal one.
    """

    value: object


@dataclass(frozen=True)
class Renewed:
    """The model had stopped saying words although somebody spoke, and starts afresh. `time` is when
    that became clear; what was said before it is heard again, and its words come after this."""

    time: float


Event = Word | Partial | Pause | EndOfTurn | Mark | Renewed


@dataclass(frozen=True)
class Transcript:
    """The result of `SpeechToText.transcribe`: what was said, in the order in which it began.

    `duration` is the time up to which the recording was heard. Where speakers are known, `text`
    has a line for each turn, which begins with the speaker's name, as in `to_txt`.
    """

    text: str
    words: list[Word] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    turns: list[EndOfTurn] = field(default_factory=list)
    duration: float = 0.0

    def __repr__(self) -> str:
        return f"<Transcript of {self.duration:.2f} s, {_counted(self.words)}>"

    def _repr_html_(self) -> str | None:
        """As notebooks show it: each word with its times."""
        from dsm_mlx.showing import page

        return page.transcript_page(self)

    def to_dict(self) -> dict[str, Any]:
        """Text, duration and words, and the ends of turns and pauses if there are any.

        Plain values that JSON can hold: times are seconds rounded to a millisecond, probabilities
        are keyed by the pause's seconds as text, a word has its confidence and speaker if they are
        known, a pause its speaker, too, and the end of a turn is its time, or an object with the
        time and the speaker. A number that is not finite is None. TypeError for a time that is no
        number.
        """
        data: dict[str, Any] = {
            "text": self.text,
            "duration": _rounded(self.duration),
            "words": [_word_as_dict(word) for word in self.words],
        }
        if self.turns:
            data["turns"] = [_turn_as_value(turn) for turn in self.turns]
        if self.pauses:
            data["pauses"] = [_pause_as_dict(pause) for pause in self.pauses]
        return data

    def to_json(self) -> str:
        """What `to_dict` gives, as the text of a JSON file; errors are those of `to_dict`."""
        from dsm_mlx import captions

        return captions.to_json(self)

    def to_txt(self) -> str:
        """The words on one line, without times, or a line for each turn of the speakers."""
        from dsm_mlx import captions

        return captions.to_txt(self.words)

    def to_srt(self, *, highlight_words: bool = False, style: CaptionStyle | None = None) -> str:
        """SubRip captions; `highlight_words` underlines each word while it is spoken.

        ValueError for a word whose times are not finite.
        """
        from dsm_mlx import captions

        style = captions.CaptionStyle() if style is None else style
        return captions.to_srt(self.words, highlight_words=highlight_words, style=style)

    def to_vtt(
        self,
        *,
        highlight_words: bool = False,
        confidence: bool = False,
        style: CaptionStyle | None = None,
    ) -> str:
        """WebVTT captions; arguments and errors as in `to_srt`. `confidence` gives doubtful words a
        class, `<c.low>` below 0.7 and `<c.medium>` below 0.9."""
        from dsm_mlx import captions

        style = captions.CaptionStyle() if style is None else style
        return captions.to_vtt(
            self.words, highlight_words=highlight_words, confidence=confidence, style=style
        )

    def save(
        self,
        path: str | PathLike[str],
        *,
        highlight_words: bool = False,
        confidence: bool = False,
        style: CaptionStyle | None = None,
    ) -> None:
        """Write a file of the kind that its name ends in: .txt, .srt, .vtt or .json.

        It appears complete or not at all. `highlight_words`, `confidence` and `style` are for
        captions, as in `to_vtt`. ValueError for any other ending, OSError, naming the file, where
        it cannot be written.
        """
        from dsm_mlx import captions

        style = captions.CaptionStyle() if style is None else style
        captions.write(
            self, path, highlight_words=highlight_words, confidence=confidence, style=style
        )


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model is.

    kind: "stt" or "tts". parameters: how many numbers its weights stand for, codec included.
    bytes: of the weights in memory. bits: the fewest that a weight is kept in where it is
    quantised, else None. codebooks: how many a frame has. context: seconds that it can look back.
    delay: seconds by which words lag the sound, or the sound the text.
    """

    name: str
    kind: str
    parameters: int
    bytes: int
    bits: int | None
    codebooks: int
    context: float
    delay: float
    languages: tuple[str, ...]


@dataclass(frozen=True)
class Chunk:
    """A piece of speech: float32 `audio` of shape (samples,) and the words that begin in it.

    A written word for which many are said, such as a number, may come with a later chunk.

    ahead: how many words are known whose sound is still to come.
    """

    audio: np.ndarray
    words: list[Word] = field(default_factory=list)
    ahead: int = 0

    def __repr__(self) -> str:
        return f"<Chunk of {len(self.audio)} samples, {_counted(self.words)}>"


@dataclass(frozen=True)
class Speech:
    """The result of `TextToSpeech.synthesize`: float32 `audio` of shape (samples,) at `sample_rate`
    Hz, and its words."""

    audio: np.ndarray
    sample_rate: int
    words: list[Word] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"<Speech of {self.duration:.2f} s, {_counted(self.words)}>"

    def _repr_html_(self) -> str | None:
        """As notebooks show it: a player, and the words with their times."""
        from dsm_mlx.showing import page

        return page.speech_page(self)

    @property
    def duration(self) -> float:
        """The length of the sound in seconds."""
        return len(self.audio) / self.sample_rate

    def save(self, path: str | PathLike[str]) -> None:
        """Write a mono sound file of the kind that its name ends in: wav, flac, mp3 or ogg, of 16
        bits. It appears complete or not at all.

        ValueError for another ending, AudioError where it cannot be written.
        """
        from dsm_mlx.audio import SoundWriter

        with SoundWriter(path, self.sample_rate) as file:
            file.write(self.audio)


def _counted(words: list[Word]) -> str:
    """How many words, and the first of them."""
    text = " ".join(word.text for word in words[:_SHOWN])
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    count = "1 word" if len(words) == 1 else f"{len(words)} words"
    return f"{count}: {text!r}" if words else count


def _word_as_dict(word: Word) -> dict[str, Any]:
    data = {"text": word.text, "start": _rounded(word.start), "end": _rounded(word.end)}
    if word.confidence is not None:
        data["confidence"] = _rounded(word.confidence, 4)
    if word.speaker is not None:
        data["speaker"] = word.speaker
    return data


def _turn_as_value(turn: EndOfTurn) -> Any:
    time = _rounded(turn.time)
    return time if turn.speaker is None else {"time": time, "speaker": turn.speaker}


def _pause_as_dict(pause: Pause) -> dict[str, Any]:
    probabilities = {f"{length:g}": _rounded(p, 4) for length, p in pause.probabilities.items()}
    data: dict[str, Any] = {"time": _rounded(pause.time), "probabilities": probabilities}
    if pause.speaker is not None:
        data["speaker"] = pause.speaker
    return data


def _rounded(value: float, digits: int = 3) -> float | None:
    """A number of any library as Python's own; None if it is not finite, which JSON cannot say."""
    try:
        number = float(value)
    except OverflowError:
        return None
    except (TypeError, ValueError):
        raise TypeError(f"{shown(value)} in a transcript (expected a number)") from None
    return round(number, digits) if math.isfinite(number) else None
