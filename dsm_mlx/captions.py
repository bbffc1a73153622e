"""Transcripts as files: plain text, SubRip (srt), WebVTT (vtt) and JSON.

The pure functions `to_txt`, `to_srt`, `to_vtt` and `to_json` return the text of such a file, which
UTF-8 can always encode; `write` saves it.
"""

from __future__ import annotations

import json
import math
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dsm_mlx.checks import check_flag, check_path, check_text
from dsm_mlx.files.text import save
from dsm_mlx.messages import named, shown
from dsm_mlx.results import Transcript, Word

FORMATS = ("txt", "srt", "vtt", "json")

# A full stop after these ends no sentence. Words that are ordinary too ("no", "fig") are not here.
ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "st", "ste", "prof", "rev", "hon", "gov", "sen", "rep", "gen",
    "col", "sgt", "capt", "lt", "maj", "cmdr", "jr", "sr", "mme", "mlle", "mm", "inc", "ltd",
    "corp", "vs", "etc", "al", "cf", "dept", "est", "approx", "ave", "blvd", "rd", "mt",
}  # fmt: skip
# Nor after these, before a number.
BEFORE_NUMBERS = {
    "no", "nos", "nr", "fig", "figs", "p", "pp", "vol", "ch", "sec", "art", "eq", "ca", "jan",
    "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
}  # fmt: skip
# "U.S.", "e.g.", "a.m.", "Ph.D.", "J.-P."
_INITIALS = re.compile(r"(?:-?[^\W\d_]{1,2}\.){2,}")
_OPENING, _CLOSING = "\"'([{«‹“‘¿¡", "\"')]}»›”’"  # noqa: RUF001
_ARROW = re.compile("-{2,}>")  # what stands between the times of a caption
_LEAST_HIGHLIGHT = 40  # milliseconds: a frame of video


def _finite(value: float, what: str, least: float = -math.inf) -> float:
    """A number of any library as Python's own."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number >= least):
        bound = "" if least == -math.inf else f" from {least} up"
        raise ValueError(f"{what} is {shown(value)} (expected seconds{bound})")
    return number


@dataclass(frozen=True)
class CaptionStyle:
    """How captions are cut. A word longer than a line gets a line of its own.

    A new caption begins after `gap` seconds of silence, after the end of a sentence, when the
    lines are full, and before the caption would last longer than `max_duration` seconds. Each is
    shown for `min_duration` seconds at least (but `max_duration`, if that is less): what ends
    sooner stays until then, a shorter sentence shares its caption with the next, and where words
    come too fast even so, the captions after them are late.

    Raises:
        ValueError: fewer than one character or line, or seconds that are negative or not finite.
    """

    max_chars: int = 42
    max_lines: int = 2
    gap: float = 0.8
    max_duration: float = 7.0
    min_duration: float = 0.8

    def __post_init__(self) -> None:
        for name in ("max_chars", "max_lines"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {shown(value)} (expected an integer from 1 up)")
        for name in ("gap", "max_duration", "min_duration"):
            _finite(getattr(self, name), name, least=0)


@dataclass(frozen=True)
class Cue:
    """A caption: lines of words, and the span in seconds in which they are spoken."""

    lines: list[list[Word]]

    @property
    def words(self) -> list[Word]:
        return [word for line in self.lines for word in line]

    @property
    def start(self) -> float:
        return self.lines[0][0].start

    @property
    def end(self) -> float:
        return max(word.end for word in self.words)


def cues(words: Iterable[Word], style: CaptionStyle = CaptionStyle()) -> list[Cue]:
    """Cut words, in order, into captions. Words without any letters or signs are left out.

    ValueError for a word whose times are not finite, TypeError for what is no `Word`.
    """
    if not isinstance(style, CaptionStyle):
        raise TypeError(f"style is {shown(style)} (expected a CaptionStyle)")
    found: list[Cue] = []
    for word in map(_timed, _clean(words)):
        cue = found[-1] if found else None
        if cue is None or _begins_cue(cue, word, style):
            found.append(Cue([[word]]))
        elif _width(cue.lines[-1]) + 1 + len(word.text) <= style.max_chars:
            cue.lines[-1].append(word)
        elif len(cue.lines) < style.max_lines:
            cue.lines.append([word])
        else:
            found.append(Cue([[word]]))
    return found


def _clean(words: Iterable[Word]) -> Iterator[Word]:
    """Words as a line of text can hold them; those of which nothing is left are left out."""
    try:
        found = iter(words)
    except TypeError:
        raise TypeError(f"words is {shown(words)} (expected an iterable of Word)") from None
    for word in found:
        if not isinstance(word, Word):
            raise TypeError(f"{shown(word)} among the words (expected a Word)")
        check_text("the text of a word", word.text)
        spaced = " ".join(_encodable(word.text).split())
        text = "".join(c for c in spaced if unicodedata.category(c) != "Cc" and c != "\ufeff")
        if text.strip():
            yield replace(word, text=text.strip())


def _encodable(text: str) -> str:
    """Text that UTF-8 can encode: of halves of a character that are alone nothing can be said."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _timed(word: Word) -> Word:
    start = _finite(word.start, f"the start of {shown(word.text)}")
    return replace(word, start=start, end=_finite(word.end, f"the end of {shown(word.text)}"))


def _begins_cue(cue: Cue, word: Word, style: CaptionStyle) -> bool:
    # times are multiples of 80 ms, so an exact comparison would be decided by rounding errors
    return (
        round(word.start - cue.end, 3) >= style.gap
        or round(word.end - cue.start, 3) > style.max_duration
        or (
            round(word.start - cue.start, 3) >= style.min_duration
            and _ends_sentence(cue.lines[-1][-1].text, word.text)
        )
    )


def _ends_sentence(text: str, following: str) -> bool:
    """Whether a sentence ends with the word `text`, before the word `following`.

    Not with an abbreviation, although a sentence may: a caption that goes on over the end of a
    sentence reads better than one that breaks off inside it.
    """
    bare = text.rstrip(_CLOSING).lstrip(_OPENING)
    if bare.endswith(("?", "!")):
        return True
    if not bare.endswith(".") or bare.endswith(".."):
        return False
    stem = bare[:-1].lower()
    initial = len(stem) == 1 and bare[0].isupper()
    if initial or stem in ABBREVIATIONS or _INITIALS.fullmatch(bare):
        return False
    number = following.lstrip(_OPENING)[:1].isdigit()
    return not (number and (stem in BEFORE_NUMBERS or stem[-1:].isdigit()))


def _width(line: Sequence[Word]) -> int:
    return sum(len(word.text) for word in line) + len(line) - 1


def to_txt(words: Iterable[Word]) -> str:
    """The words on one line, without times."""
    return " ".join(word.text for word in _clean(words)) + "\n"


def to_srt(
    words: Iterable[Word],
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> str:
    """SubRip captions; `highlight_words` underlines each word while it is spoken.

    The format knows no escapes, so signs stay as they are; of an arrow as in the line of times
    one dash is left. ValueError for a word whose times are not finite.
    """

    def escape(text: str) -> str:
        return _ARROW.sub("->", text)

    blocks = []
    captions = _captions(words, highlight_words, style, escape)
    for number, (start, end, text) in enumerate(captions, 1):
        blocks.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n")
    return "\n".join(blocks)


def to_vtt(
    words: Iterable[Word],
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> str:
    """WebVTT captions; `highlight_words` underlines each word while it is spoken.

    ValueError for a word whose times are not finite.
    """

    def escape(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    blocks = ["WEBVTT\n"]
    for start, end, text in _captions(words, highlight_words, style, escape):
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """`Transcript.to_dict` as JSON; a number that is not finite is null.

    TypeError for a time that is no number.
    """
    data = _transcript(transcript).to_dict()
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    return _encodable(text)


def render(
    transcript: Transcript,
    format: str,
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> str:
    """A transcript in one of `FORMATS`; ValueError for any other."""
    check_text("format", format)
    _transcript(transcript)
    if format == "txt":
        return to_txt(transcript.words)
    if format == "json":
        return to_json(transcript)
    if format not in FORMATS:
        raise ValueError(f"format is {shown(format)} (expected one of {', '.join(FORMATS)})")
    make = {"srt": to_srt, "vtt": to_vtt}[format]
    return make(transcript.words, highlight_words=highlight_words, style=style)


def write(
    transcript: Transcript,
    path: str | os.PathLike,
    format: str | None = None,
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> list[Path]:
    """Save a transcript and return the paths written.

    `format` is one of `FORMATS`; None takes it from the path's ending; "all" writes every format,
    with its ending added to `path`. A file appears complete or not at all. Raises `ValueError`
    for an unknown format and `OSError`, naming the path, where it cannot be written.
    """
    path = Path(check_path("path", path))
    if format is not None:
        check_text("format", format)
    else:
        format = path.suffix.removeprefix(".").lower()
    if format == "all":
        targets = {kind: path.with_name(f"{path.name}.{kind}") for kind in FORMATS}
    elif format in FORMATS:
        targets = {format: path}
    else:
        expected = f"expected {', '.join(FORMATS)} or all"
        raise ValueError(f"{named(path)}: caption format {shown(format)}: {expected}")
    texts = {
        target: render(transcript, kind, highlight_words=highlight_words, style=style)
        for kind, target in targets.items()
    }
    for target, text in texts.items():
        save(target, text)
    return list(texts)


def _transcript(value: Transcript) -> Transcript:
    if not isinstance(value, Transcript):
        raise TypeError(f"transcript is {shown(value)} (expected a Transcript)")
    return value


def _captions(
    words: Iterable[Word],
    highlight_words: bool,
    style: CaptionStyle,
    escape: Callable[[str], str],
) -> Iterator[tuple[int, int, str]]:
    """Captions as (start, end, text), in milliseconds that never run back or overlap."""
    check_flag("highlight_words", highlight_words)
    for start, end, cue in _shown(cues(words, style), style):
        if not highlight_words:
            yield start, end, _text(cue, escape)
            continue
        for first, last, word in _highlights(start, end, cue.words):
            yield first, last, _text(cue, escape, word)


def _shown(found: list[Cue], style: CaptionStyle) -> Iterator[tuple[int, int, Cue]]:
    """When each caption is shown, in milliseconds: long enough, and one after the other."""
    starts = [_milliseconds(cue.start) for cue in found]
    least = _milliseconds(min(style.min_duration, style.max_duration))
    clock = 0
    for i, cue in enumerate(found):
        start, end = max(clock, starts[i]), _milliseconds(cue.end)
        if i + 1 < len(found):
            end = min(end, starts[i + 1])
        clock = max(end, start + max(least, _LEAST_HIGHLIGHT * len(cue.words)))
        yield start, clock, cue


def _highlights(start: int, end: int, words: list[Word]) -> Iterator[tuple[int, int, Word]]:
    """Each word's share of its caption's time: until the next begins, but never none."""
    for i, word in enumerate(words, 1):
        last = end
        if i < len(words):
            last = max(_milliseconds(words[i].start), start + _LEAST_HIGHLIGHT)
            last = min(last, end - _LEAST_HIGHLIGHT * (len(words) - i))
        yield start, last, word
        start = last


def _text(cue: Cue, escape: Callable[[str], str], spoken: Word | None = None) -> str:
    """The lines of a caption, with the word that is being spoken underlined."""

    def shown(word: Word) -> str:
        text = escape(word.text)
        return f"<u>{text}</u>" if word is spoken else text

    return "\n".join(" ".join(map(shown, line)) for line in cue.lines)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def __getattr__(name: str) -> object:
    if name == "Layout":
        message = "dsm_mlx.captions.Layout is now called CaptionStyle"
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return CaptionStyle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
