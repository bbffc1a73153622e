"""Transcripts as files: plain text, SubRip (srt), WebVTT (vtt) and JSON.

The pure functions `to_txt`, `to_srt`, `to_vtt` and `to_json` return the text of such a file;
`write` saves it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dsm_mlx.results import Transcript, Word

FORMATS = ("txt", "srt", "vtt", "json")
# A full stop after these ends no sentence.
ABBREVIATIONS = {"mr.", "mrs.", "ms.", "dr.", "st.", "prof.", "vs.", "mme.", "mlle."}


@dataclass(frozen=True)
class CaptionStyle:
    """How captions are cut. A word longer than a line gets a line of its own.

    A new caption begins after `gap` seconds of silence, after the end of a sentence, when the
    lines are full, and before the caption would last longer than `max_duration` seconds.
    """

    max_chars: int = 42
    max_lines: int = 2
    gap: float = 0.8
    max_duration: float = 7.0


@dataclass(frozen=True)
class Cue:
    """A caption: lines of words, and the span in seconds in which it is shown."""

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
    """Cut words, in order, into captions. Words without any letters or signs are left out."""
    found: list[Cue] = []
    for word in _clean(words):
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
    for word in words:
        text = " ".join(word.text.split())
        if text:
            yield Word(text, word.start, word.end)


def _begins_cue(cue: Cue, word: Word, style: CaptionStyle) -> bool:
    # times are multiples of 80 ms, so an exact comparison would be decided by rounding errors
    return (
        round(word.start - cue.end, 3) >= style.gap
        or round(word.end - cue.start, 3) > style.max_duration
        or _ends_sentence(cue.lines[-1][-1].text)
    )


def _ends_sentence(text: str) -> bool:
    bare = text.rstrip("\"')]»”’")  # noqa: RUF001
    initial = len(bare) == 2 and bare[0].isupper()
    return bare.endswith((".", "?", "!", "…")) and not initial and bare.lower() not in ABBREVIATIONS


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
    """SubRip captions; `highlight_words` underlines each word while it is spoken."""
    blocks = []
    captions = _captions(words, highlight_words, style, {"-->": "->"})  # as in the line of times
    for number, (start, end, text) in enumerate(captions, 1):
        blocks.append(f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n")
    return "\n".join(blocks)


def to_vtt(
    words: Iterable[Word],
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> str:
    """WebVTT captions; `highlight_words` underlines each word while it is spoken."""
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
    blocks = ["WEBVTT\n"]
    for start, end, text in _captions(words, highlight_words, style, escapes):
        blocks.append(f"{_clock(start, '.')} --> {_clock(end, '.')}\n{text}\n")
    return "\n".join(blocks)


def to_json(transcript: Transcript) -> str:
    """All of a transcript as JSON: text, duration, words; ends of turns and pauses if it has any.

    Times are seconds, rounded to a millisecond; probabilities are keyed by the pause's seconds.
    """
    data = {
        "text": transcript.text,
        "duration": round(transcript.duration, 3),
        "words": [
            {"text": word.text, "start": round(word.start, 3), "end": round(word.end, 3)}
            for word in transcript.words
        ],
    }
    if transcript.turns:
        data["turns"] = [round(turn.time, 3) for turn in transcript.turns]
    if transcript.pauses:
        data["pauses"] = [
            {
                "time": round(pause.time, 3),
                "probabilities": {
                    f"{seconds:g}": round(float(p), 4) for seconds, p in pause.probabilities.items()
                },
            }
            for pause in transcript.pauses
        ]
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def render(
    transcript: Transcript,
    format: str,
    *,
    highlight_words: bool = False,
    style: CaptionStyle = CaptionStyle(),
) -> str:
    """A transcript in one of `FORMATS`."""
    if format == "txt":
        return to_txt(transcript.words)
    if format == "json":
        return to_json(transcript)
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
    path = Path(path)
    if format is None:
        format = path.suffix.removeprefix(".").lower()
    if format == "all":
        targets = {kind: path.with_name(f"{path.name}.{kind}") for kind in FORMATS}
    elif format in FORMATS:
        targets = {format: path}
    else:
        raise ValueError(f"{path}: caption format {format!r}: expected {', '.join(FORMATS)} or all")
    for kind, target in targets.items():
        text = render(transcript, kind, highlight_words=highlight_words, style=style)
        save(target, text)
    return list(targets.values())


def save(path: Path, text: str) -> None:
    """Write beside the target and rename, so that no half file is ever seen.

    Raises `OSError`, naming the path.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8", newline="\n")
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def _captions(
    words: Iterable[Word], highlight_words: bool, style: CaptionStyle, escapes: dict[str, str]
) -> Iterator[tuple[int, int, str]]:
    """Captions as (start, end, text), in milliseconds that never run back or overlap."""
    spans = []
    for cue in cues(words, style):
        if highlight_words:
            ends = [word.start for word in cue.words[1:]] + [cue.end]
            for word, end in zip(cue.words, ends, strict=True):
                spans.append((word.start, end, _text(cue, escapes, word)))
        else:
            spans.append((cue.start, cue.end, _text(cue, escapes)))
    following = [*[start for start, _, _ in spans], float("inf")][1:]
    clock = 0
    for (start, end, text), limit in zip(spans, following, strict=True):
        first = max(clock, round(start * 1000))
        clock = max(first + 1, round(min(end, limit) * 1000))
        yield first, clock, text


def _text(cue: Cue, escapes: dict[str, str], spoken: Word | None = None) -> str:
    """The lines of a caption, with the word that is being spoken underlined."""

    def shown(word: Word) -> str:
        text = word.text
        for sign, escape in escapes.items():
            text = text.replace(sign, escape)
        return f"<u>{text}</u>" if word is spoken else text

    return "\n".join(" ".join(map(shown, line)) for line in cue.lines)


def _clock(milliseconds: int, point: str) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"
