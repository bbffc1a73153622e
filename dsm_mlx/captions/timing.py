"""When each caption is shown, and each word of it highlighted. Times are milliseconds."""

from __future__ import annotations

from collections.abc import Iterator

from dsm_mlx.captions.cutting import Cue, by_speaker
from dsm_mlx.captions.style import CaptionStyle
from dsm_mlx.results import Word

_LEAST_HIGHLIGHT = 40  # milliseconds: a frame of video


def times(found: list[Cue], style: CaptionStyle) -> Iterator[tuple[int, int, Cue]]:
    """(start, end, caption): long enough, and those of one speaker one after the other."""
    for row in by_speaker(found):
        yield from _one_by_one(row, style)


def _one_by_one(found: list[Cue], style: CaptionStyle) -> Iterator[tuple[int, int, Cue]]:
    starts = [_milliseconds(cue.start) for cue in found]
    least = _milliseconds(min(style.min_duration, style.max_duration))
    clock = 0
    for i, cue in enumerate(found):
        start, end = max(clock, starts[i]), _milliseconds(cue.end)
        if i + 1 < len(found):
            end = min(end, starts[i + 1])
        clock = max(end, start + max(least, _LEAST_HIGHLIGHT * len(cue.words)))
        yield start, clock, cue


def highlights(start: int, end: int, words: list[Word]) -> Iterator[tuple[int, int, Word]]:
    """Each word's share of its caption's time: until the next begins, but never none."""
    for i, word in enumerate(words, 1):
        last = end
        if i < len(words):
            last = max(_milliseconds(words[i].start), start + _LEAST_HIGHLIGHT)
            last = min(last, end - _LEAST_HIGHLIGHT * (len(words) - i))
        yield start, last, word
        start = last


def clock(milliseconds: int, point: str) -> str:
    """As captions write a time, with `point` before the milliseconds."""
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{milliseconds:03}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
