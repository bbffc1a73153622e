"""The formats: what is written of captions, words and transcripts, and where to."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from dsm_mlx.captions.cutting import Cue, clean, cues, encodable, label, turns
from dsm_mlx.captions.style import DEFAULT, CaptionStyle, doubt
from dsm_mlx.captions.timing import clock, highlights, times
from dsm_mlx.checks import check_flag, check_path, check_text
from dsm_mlx.files.text import save
from dsm_mlx.messages import named, shown
from dsm_mlx.results import Transcript, Word

FORMATS = ("txt", "srt", "vtt", "json")

_ARROW = re.compile("-{2,}>")  # what stands between the times of a caption
_DOUBTS = """
STYLE
::cue(.low) { color: #ff7070 }
::cue(.medium) { color: #ffd070 }
"""


def to_txt(words: Iterable[Word]) -> str:
    """The words on one line, without times; where speakers are known a line for each turn, which
    begins with the speaker's name."""
    found = list(clean(words))
    if not any(word.speaker for word in found):
        return " ".join(word.text for word in found) + "\n"
    lines = [label(turn[0].speaker) + " ".join(word.text for word in turn) for turn in turns(found)]
    return "\n".join(lines) + "\n"


def to_srt(
    words: Iterable[Word],
    *,
    highlight_words: bool = False,
    style: CaptionStyle = DEFAULT,
) -> str:
    """SubRip captions; `highlight_words` underlines each word while it is spoken.

    A speaker's name stands before the words, as in "NAME: text". The format knows no escapes, so
    signs stay as they are; of an arrow as in the line of times one dash is left. ValueError for a
    word whose times are not finite.
    """

    def lead(speaker: str | None) -> str:
        return _ARROW.sub("->", label(speaker))

    def word_of(word: Word, spoken: bool) -> str:
        return _underlined(_ARROW.sub("->", word.text), spoken)

    blocks = []
    captions = _captions(words, highlight_words, style, lead, word_of)
    for number, (start, end, text) in enumerate(captions, 1):
        blocks.append(f"{number}\n{clock(start, ',')} --> {clock(end, ',')}\n{text}\n")
    return "\n".join(blocks)


def to_vtt(
    words: Iterable[Word],
    *,
    highlight_words: bool = False,
    confidence: bool = False,
    style: CaptionStyle = DEFAULT,
) -> str:
    """WebVTT captions; `highlight_words` underlines each word while it is spoken.

    A speaker's words have the voice span `<v NAME>`. confidence: words that are doubtful get a
    class, `<c.low>` below 0.7 and `<c.medium>` below 0.9, and the file a colour for each.
    ValueError for a word whose times are not finite.
    """
    check_flag("confidence", confidence)

    def escape(text: str) -> str:
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def lead(speaker: str | None) -> str:
        return "" if speaker is None else f"<v {escape(speaker)}>"

    def word_of(word: Word, spoken: bool) -> str:
        text, kind = escape(word.text), doubt(word.confidence) if confidence else ""
        return _underlined(f"<c.{kind}>{text}</c>" if kind else text, spoken)

    blocks = ["WEBVTT\n" + (_DOUBTS if confidence else "")]
    for start, end, text in _captions(words, highlight_words, style, lead, word_of):
        blocks.append(f"{clock(start, '.')} --> {clock(end, '.')}\n{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """`Transcript.to_dict` as JSON; a number that is not finite is null.

    TypeError for a time that is no number.
    """
    data = _transcript(transcript).to_dict()
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    return encodable(text)


def render(
    transcript: Transcript,
    format: str,
    *,
    highlight_words: bool = False,
    confidence: bool = False,
    style: CaptionStyle = DEFAULT,
) -> str:
    """A transcript in one of `FORMATS`; ValueError for any other.

    highlight_words, style: for srt and vtt. confidence: for vtt; json has it in any case.
    """
    check_text("format", format)
    _transcript(transcript)
    if format == "txt":
        return to_txt(transcript.words)
    if format == "json":
        return to_json(transcript)
    if format == "srt":
        return to_srt(transcript.words, highlight_words=highlight_words, style=style)
    if format == "vtt":
        return to_vtt(
            transcript.words, highlight_words=highlight_words, confidence=confidence, style=style
        )
    raise ValueError(f"format is {shown(format)} (expected one of {', '.join(FORMATS)})")


def write(
    transcript: Transcript,
    path: str | os.PathLike,
    format: str | None = None,
    *,
    highlight_words: bool = False,
    confidence: bool = False,
    style: CaptionStyle = DEFAULT,
) -> list[Path]:
    """Save a transcript and return the paths written.

    `format` is one of `FORMATS`; None takes it from the path's ending; "all" writes every format,
    with its ending added to `path`. The other arguments are those of `render`. A file appears
    complete or not at all. Raises `ValueError` for an unknown format and `OSError`, naming the
    path, where it cannot be written.
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
    as_wanted = partial(render, highlight_words=highlight_words, confidence=confidence, style=style)
    texts = {target: as_wanted(transcript, kind) for kind, target in targets.items()}
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
    lead: Callable[[str | None], str],
    word_of: Callable[[Word, bool], str],
) -> list[tuple[int, int, str]]:
    """Captions as (start, end, text), by their start, in milliseconds; those of one speaker never
    overlap.

    lead: what stands before a speaker's words. word_of: what is written of a word, and of one that
    is being spoken.
    """
    check_flag("highlight_words", highlight_words)

    def text(cue: Cue, spoken: Word | None = None) -> str:
        lines = [" ".join(word_of(word, word is spoken) for word in line) for line in cue.lines]
        return lead(cue.speaker) + "\n".join(lines)

    found: list[tuple[int, int, str]] = []
    for start, end, cue in times(cues(words, style), style):
        if highlight_words:
            found += [(a, b, text(cue, word)) for a, b, word in highlights(start, end, cue.words)]
        else:
            found.append((start, end, text(cue)))
    return sorted(found, key=lambda caption: caption[0])


def _underlined(text: str, spoken: bool) -> str:
    return f"<u>{text}</u>" if spoken else text
