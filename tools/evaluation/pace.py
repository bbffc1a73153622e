"""How fast a text-to-speech model says texts at a pace, and how well it is understood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dsm_mlx import SpeechToText, TextToSpeech
from evaluation import figures

PACES = (0.7, 0.85, 1.0, 1.15, 1.3)


def judged(
    tts: TextToSpeech,
    stt: SpeechToText,
    texts: Sequence[str],
    *,
    voice: str | None = None,
    paces: Sequence[float] = PACES,
    step: Callable[[], Any] = lambda: None,
) -> list[dict]:
    """For each pace a row: words a second, from the first word's start to the last one's end, all
    texts together, and the share of words that the listener gets wrong.

    step: called when a text has been said and heard.
    """
    return [_row(tts, stt, texts, voice, pace, step) for pace in paces]


def _row(tts, stt, texts, voice, pace, step) -> dict:
    said, seconds, pairs = 0, 0.0, []
    for seed, text in enumerate(texts):
        speech = tts.synthesize(text, voice, seed=seed, pace=pace)
        said += len(speech.words)
        if speech.words:
            seconds += speech.words[-1].end - speech.words[0].start
        heard = stt.transcribe(speech.audio, sample_rate=speech.sample_rate)
        pairs.append((text, heard.text))
        step()
    return {
        "pace": pace,
        "words": said,
        "words_per_second": said / seconds if seconds else None,
        "wrong": figures.word_error_rate(pairs),
    }
