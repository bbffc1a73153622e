"""How fast a text-to-speech model says texts at a pace, and how well it is understood."""

from __future__ import annotations

from collections.abc import Sequence

from dsm_mlx import SpeechToText, TextToSpeech
from evaluation import figures

PACES = (0.7, 0.85, 1.0, 1.15, 1.3)


def judged(
    tts: TextToSpeech, stt: SpeechToText, texts: Sequence[str], voice: str | None, pace: float
) -> dict:
    """The figures of a pace: words a second, from the start of a text's first word to the end of
    its last one, all texts together; and the share of words that the listener gets wrong."""
    speeches = tts.synthesize(list(texts), voice, seed=list(range(len(texts))), pace=pace)
    said, seconds = 0, 0.0
    for words in (speech.words for speech in speeches if speech.words):
        said += len(words)
        seconds += words[-1].end - words[0].start
    heard = stt.transcribe([s.audio for s in speeches], sample_rate=tts.sample_rate)
    pairs = [(text, result.text) for text, result in zip(texts, heard, strict=True)]
    return {
        "pace": pace,
        "words": said,
        "words_per_second": said / seconds if seconds else None,
        "wer": figures.word_error_rate(pairs),
    }
