"""Speech by the synthesizers of tools/train, of which it is known what is said when.

A recording follows from its seed and from what the process has said before, because espeak-ng and
flite carry a state along: the same calls in the same order make the same sound.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from speech import effects, text, voices
from speech.utterance import SAMPLE_RATE, Utterance, Word

_LOUDNESS = 0.08  # root mean square of each utterance
_SILENCE = 0.5  # seconds, before the first word and after a sentence
_PAUSES = (0.3, 1.2)  # seconds, within a turn
_DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_TRIES = 20
TURNS = 4  # in a recording
KINDS = ("sentences", "digits")
CONDITIONS = {
    "known voices": ("known", None),
    "known voices in noise": ("known", (0.0, 20.0)),
    "new voices": ("new voice", None),
    "a new synthesizer": ("new synthesizer", None),
}
"""Of sentences: one of voices.KINDS, and how far the noise is below the speech, in dB."""


class Turn(NamedTuple):
    """Seconds: its first word's start, its last word's end, the end of the silence after it."""

    start: float
    end: float
    until: float


@dataclass
class Talk:
    """pcm float32 (samples,) at 24 kHz, its words and turns."""

    pcm: np.ndarray
    words: list[Word] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)


def sentence(condition: str, seed: int) -> Talk:
    """A sentence that no model of ours was trained on, under one of CONDITIONS."""
    kind, decibels = CONDITIONS[condition]
    rng, noise_rng = random.Random(seed), np.random.default_rng(seed)
    speaker = voices.draw(rng, kind)
    said = _spoken(speaker, lambda: [text.sentence(rng, held_out=True)])
    pcm, words = _joined([(said[0], _SILENCE)])
    if decibels:
        level = _LOUDNESS * 10 ** (-rng.uniform(*decibels) / 20)
        pcm = pcm + effects.noise(pcm.size, noise_rng) * level
    return Talk(_clipped(pcm), words)


def of_text(said: str, seed: int) -> Talk:
    """A text, by a known voice."""
    rng = random.Random(seed)
    tries = (voices.draw(rng).say(said) for _ in range(_TRIES))
    made = next(filter(None, tries), None)
    if made is None:
        raise OSError(f"no voice tells when the words of {said!r} are")
    pcm, words = _joined([(made, _SILENCE)])
    return Talk(_clipped(pcm), words)


def turns(kind: str, seed: int, silence: float) -> Talk:
    """Four turns of one of KINDS by a known voice, each with pauses of 0.3 to 1.2 s inside and
    `silence` seconds after it; most of the recordings have a little noise, as in training."""
    rng = random.Random(seed)
    speaker = voices.draw(rng)
    draw = _digits if kind == "digits" else _sentences
    parts, counts = [], []
    for _ in range(TURNS):
        said = _spoken(speaker, lambda: draw(rng))
        parts += [(part, rng.uniform(*_PAUSES)) for part in said]
        parts[-1] = said[-1], silence
        counts.append(sum(len(part.words) for part in said))
    pcm, words = _joined(parts)
    lasts = np.cumsum(counts)
    spans = [
        (words[last - count], words[last - 1]) for count, last in zip(counts, lasts, strict=True)
    ]
    made = [Turn(first.start, last.end, last.end + silence) for first, last in spans]
    return Talk(_clipped(effects.at_random(pcm, np.random.default_rng(seed))), words, made)


def _sentences(rng: random.Random) -> list[str]:
    """Two sentences, the first in two parts, as by someone who stops to think."""
    first, second = (text.sentence(rng, held_out=True) for _ in range(2))
    spoken = first.split()
    cut = rng.randint(1, max(1, len(spoken) - 1))
    parts = [" ".join(spoken[:cut]).rstrip(",.") + ",", " ".join(spoken[cut:]), second]
    return [part for part in parts if text.words_of(part)]


def _digits(rng: random.Random) -> list[str]:
    """Seven to ten digits in groups of one to four, as people dictate them."""
    drawn = [rng.choice(_DIGITS) for _ in range(rng.randint(7, 10))]
    groups = []
    while drawn:
        size = rng.randint(1, 4)
        groups.append(", ".join(drawn[:size]))
        drawn = drawn[size:]
    return groups


def _spoken(speaker: voices.Speaker, draw: Callable[[], list[str]]) -> list[Utterance]:
    """The first texts drawn of which the synthesizer tells when all words are."""
    for _ in range(_TRIES):
        said = [speaker.say(part) for part in draw()]
        if all(said):
            return said
    raise OSError(f"{speaker.voice} does not tell when its words are")


def _joined(parts: list[tuple[Utterance, float]]) -> tuple[np.ndarray, list[Word]]:
    """Utterances, each with the seconds from its last word to the next one's first -> float64
    (samples,) and the words' times in it."""
    starts, words, time = [], [], _SILENCE
    for said, pause in parts:
        begin = time - said.words[0].start
        starts.append(round(begin * SAMPLE_RATE))
        words += [Word(w.text, w.start + begin, w.end + begin) for w in said.words]
        time = words[-1].end + pause
    pcm = np.zeros(round(time * SAMPLE_RATE))
    for start, (said, _) in zip(starts, parts, strict=True):
        sound = said.pcm * (_LOUDNESS / (np.sqrt(np.mean(said.pcm**2)) + 1e-4))
        place = pcm[start : start + sound.size]
        place += sound[: place.size]
    return pcm, words


def _clipped(pcm: np.ndarray) -> np.ndarray:
    return np.clip(pcm, -0.99, 0.99).astype(np.float32)
