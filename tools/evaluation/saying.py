"""A text-to-speech model says the texts of a set, and another model hears them."""

from __future__ import annotations

from statistics import fmean

from tqdm import tqdm

from dsm_mlx import SpeechToText, TextToSpeech
from evaluation.hearing import transcripts
from evaluation.score import Score
from evaluation.similarity import Likeness

_GROUP = 32  # texts that are said before they are heard


def say(
    score: Score,
    tts: TextToSpeech,
    stt: SpeechToText,
    voice: str | None,
    batch: int,
    likeness: Likeness | None,
) -> None:
    """Fill `score`, group by group. Each text has its own seed, always the same.

    likeness: compares every sound with a recording of the voice.
    """
    items, alike = score.set.items, []
    what = " ".join(filter(None, (score.set.name, score.point.label)))
    with tqdm(total=len(items), desc=what, disable=None) as bar:
        for first in range(0, len(items), _GROUP):
            group = items[first : first + _GROUP]
            speeches = tts.synthesize(
                [item.text for item in group],
                voice,
                seed=list(range(first, first + len(group))),
                batch=batch,
                **score.point.use,
            )
            sounds = [speech.audio for speech in speeches]
            for index, heard in transcripts(stt, sounds, batch):
                score.add(group[index], heard.text, heard.duration)
                bar.update()
            if likeness:
                alike += [likeness.of(sound) for sound in sounds]
                score.extra["similarity"] = fmean(alike)
