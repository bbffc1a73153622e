"""What a model hears of recordings, of generated sessions, and of nothing."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from speech import effects
from speech.shards import read_words, to_float

import dsm_mlx
from dsm_mlx.audio import read
from measured.pauses import pause_figures, turn_figures
from measured.words import late_starts, texts_of, whole_words, wrong_words

RATE = 24_000
_LOUD = 0.05
Hear = Callable[..., list]  # of sounds and a `delay`: their transcripts
Figures = Callable[[float | None], list]  # of a delay; the sounds are made once for all


def of_folder(hear: Hear, args: argparse.Namespace) -> Figures:
    files = sorted(args.folder.glob("*.wav"))[: args.count]
    texts = [file.with_suffix(".txt").read_text() for file in files]
    sounds = files
    if args.decoded:
        codec = dsm_mlx.load_codec(args.model)
        sounds = [decoded(codec, read(file)) for file in files]

    def figures(delay: float | None) -> list:
        heard = hear(sounds, delay=delay)
        return [wrong_words(texts, texts_of(heard))]

    return figures


def decoded(codec, pcm: np.ndarray) -> np.ndarray:
    """What the codec makes of a sound (samples,)."""
    return np.array(codec.decode(codec.encode(pcm[None, None])))[0, 0]


def of_shard(hear: Hear, args: argparse.Namespace) -> Figures:
    parts = [np.load(path) for path in args.shard]
    spoken = [words for part in parts for words in read_words(part["words"])][: args.count]
    audio = [to_float(pcm) for part in parts for pcm in part["pcm"]][: args.count]
    texts = [" ".join(word.text for word in words) for words in spoken]

    def figures(delay: float | None) -> list:
        heard = hear(audio, delay=delay)
        late = np.array(late_starts(spoken, heard)) * 1000
        pairs = [whole_words(*pair) for pair in zip(spoken, heard, strict=True)]
        return [
            wrong_words(*zip(*pairs, strict=True)),
            f"with words cut off {wrong_words(texts, texts_of(heard))}",
            f"words start {np.median(late):+.0f} ms off, median error "
            f"{np.median(np.abs(late)):.0f} ms",
            *pause_figures(spoken, heard),
            turn_figures(spoken, heard),
        ]

    return figures


def of_nothing(hear: Hear, args: argparse.Namespace) -> Figures:
    """A minute each."""
    rng, samples = np.random.default_rng(9), 60 * RATE
    sounds = {
        "silence": np.zeros(samples),
        "noise": effects.noise(samples, rng) * _LOUD,
        "tones": effects.tones(samples, rng) * _LOUD,
    }
    audio = [sound.astype(np.float32) for sound in sounds.values()]

    def figures(delay: float | None) -> list:
        heard = hear(audio, delay=delay)
        return [f"{name}: {len(h.words)} words" for name, h in zip(sounds, heard, strict=True)]

    return figures
