"""A speech-to-text model hears a set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dsm_mlx import SpeechToText, Transcript
from dsm_mlx.stt.recordings import as_transcript
from evaluation.score import Score
from evaluation.sets import Item
from evaluation.sets.item import RATE

_GROUP = 64  # recordings whose sound is in memory at the same time,
_LONGEST = 3600 * RATE  # or so many samples of them


def hear(score: Score, stt: SpeechToText, batch: int) -> None:
    """Fill `score`, recording by recording, in whatever order they are done."""
    items, point = score.set.items, score.point
    what = " ".join(filter(None, (score.set.name, point.line, point.label)))
    with tqdm(total=len(items), desc=what, disable=None) as bar:
        for first, sounds in _groups(score):
            for index, heard in transcripts(stt, sounds, batch, **point.use):
                score.add(items[first + index], heard.text, heard.duration, heard.words)
                bar.update()


def _groups(score: Score) -> Iterator[tuple[int, list[Path | np.ndarray]]]:
    """The sounds of some recordings, and which is the first. Whole files are left to the model,
    which reads them as it goes."""
    first, sounds, size = 0, [], 0
    for index, item in enumerate(score.set.items):
        sounds.append(_sound(item, score, index))
        size += getattr(sounds[-1], "size", 0)
        if len(sounds) == _GROUP or size >= _LONGEST:
            yield first, sounds
            first, sounds, size = index + 1, [], 0
    if sounds:
        yield first, sounds


def _sound(item: Item, score: Score, index: int) -> Path | np.ndarray:
    if isinstance(item.sound, Path) and item.part is None and score.point.condition is None:
        return item.sound
    return score.point.sound(item.pcm(), index)


def transcripts(
    stt: SpeechToText, sounds: Sequence[Path | np.ndarray], batch: int, **options
) -> Iterator[tuple[int, Transcript]]:
    """Index and transcript of each sound, as it is done."""
    events: list[list] = [[] for _ in sounds]
    seconds = [0.0] * len(sounds)
    parts = stt.transcribe_events(list(sounds), sample_rate=RATE, batch=batch, **options)
    with closing(parts):
        for part in parts:
            if part.error:
                raise part.error
            events[part.index] += part.events
            seconds[part.index] += part.seconds
            if part.last:
                yield part.index, as_transcript(events[part.index], seconds[part.index])
