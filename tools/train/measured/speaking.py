"""What a model says: whether it is understood, and in whose voice it is said."""

from __future__ import annotations

import argparse
import itertools
import random
import time

import numpy as np
from speech.text import sentence

import dsm_mlx
from measured.hearing import RATE, Figures, Hear
from measured.timbre import Voices, timbre, told_apart
from measured.words import texts_of, wrong_words

_ROUNDS = 2  # turns of each speaker in a dialogue
_SENTENCES_A_MINUTE = 28


def of_voices(hear: Hear, args: argparse.Namespace) -> Figures:
    """Held-out sentences, each voice in its turn; dialogues; a long text in one voice, if asked."""
    tts, rng = dsm_mlx.load_tts(args.tts), random.Random(9)
    texts = [sentence(rng, held_out=True) for _ in range(args.count)]
    names = tts.voices()
    voices = np.array([names[i % len(names)] for i in range(len(texts))])
    began = time.monotonic()
    made = tts.synthesize(texts, list(voices), seed=list(range(len(texts))), batch=args.batch)
    sounds = [speech.audio for speech in made]
    lines = [f"real-time factor {(time.monotonic() - began) * RATE / sum(map(len, sounds)):.2f}"]
    timbres = np.stack([timbre(sound) for sound in sounds])
    said = [(texts, sounds, "words")]
    if len(names) > 1 and len(texts) > 2 * len(names):
        lines.append(f"{len(names)} voices: {told_apart(timbres, voices):.0%} told by their sound")
        talks = dialogues(names, max(1, args.count // 8))
        made = tts.synthesize(talks, seed=list(range(len(talks))), batch=args.batch)
        pairs = zip(talks, made, strict=True)
        right = [hit for pair in pairs for hit in turns_in_voice(*pair, Voices(timbres, voices))]
        lines.append(f"turns: {sum(right)} of {len(right)} by the right one of two voices")
        texts = [" ".join(text for _, text in talk) for talk in talks]
        said.append((texts, [speech.audio for speech in made], "words of dialogues"))
    if args.minutes:
        count = round(_SENTENCES_A_MINUTE * args.minutes)
        long = " ".join(sentence(rng, held_out=True) for _ in range(count))
        speech = tts.synthesize(long, names[0], seed=1)
        lines.append(stays(speech, names[0], Voices(timbres, voices)))
        said.append(([long], [speech.audio], "words of a long text"))

    def figures(delay: float | None) -> list:
        wrong = [
            wrong_words(texts, texts_of(hear(sounds, delay=delay)), what)
            for texts, sounds, what in said
        ]
        return [*lines, *wrong]

    return figures


def dialogues(names: list[str], count: int) -> list[list[tuple[str, str]]]:
    """Turns (voice, sentence), four a dialogue, without breaks; each two voices in their turn."""
    rng = random.Random(10)
    pairs = list(itertools.permutations(names, 2))
    rng.shuffle(pairs)
    return [
        [(voice, sentence(rng, held_out=True)) for voice in pair * _ROUNDS]
        for pair in itertools.islice(itertools.cycle(pairs), count)
    ]


def turns_in_voice(talk: list[tuple[str, str]], speech, known: Voices) -> list[bool]:
    """Whether each turn sounds like its own voice rather than like the dialogue's other one."""
    known = known.among({voice for voice, _ in talk})
    firsts = itertools.accumulate((len(text.split()) for _, text in talk[:-1]), initial=0)
    starts = [round(speech.words[first].start * speech.sample_rate) for first in firsts]
    return [
        known.nearest(timbre(turn)) == voice
        for turn, (voice, _) in zip(np.split(speech.audio, starts)[1:], talk, strict=True)
    ]


def stays(speech, name: str, known: Voices) -> str:
    """How many minutes of a long speech have the sound of the voice that spoke it."""
    minute = 60 * speech.sample_rate
    parts = [
        speech.audio[i : i + minute] for i in range(0, len(speech.audio) - minute // 2, minute)
    ]
    same = sum(known.nearest(timbre(part)) == name for part in parts)
    return (
        f"{len(speech.audio) / minute:.1f} minutes in one go: {same} of {len(parts)} in its voice"
    )
