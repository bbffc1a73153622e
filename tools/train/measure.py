"""What the small models reach: the figures of the model card.

    python tools/train/measure.py MODEL --folder DIR            words wrong in NN.wav with NN.txt;
                                                               --decoded: after the codec
    python tools/train/measure.py MODEL --shard FILE.pcm.npz …  and times, pauses: run.py's speech
    python tools/train/measure.py MODEL --nothing               words heard where none are spoken
    python tools/train/measure.py MODEL --tts VOICE_MODEL       words lost by speaking and hearing,
                                                               voices; a long text with --minutes

MODEL is what dsm_mlx.load_stt takes. Needs no PyTorch.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # tools/, for what evaluate.py is made of

from evaluation.figures import word_errors
from learn import labels
from speech import effects
from speech.sessions import LAST_WORD, SECONDS
from speech.shards import read_words, to_float
from speech.text import sentence, words_of
from timbre import Voices, timbre, told_apart

import dsm_mlx
from dsm_mlx.audio import read

RATE = 24_000
_NEAR = 0.5  # seconds within which a heard word may stand for a spoken one
_LOUD = 0.05
_TURN = 1.0  # seconds
Figures = Callable[[float | None], list]  # of a delay; the sounds are made once for all


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--folder", type=Path)
    p.add_argument("--decoded", action="store_true", help="first through the codec, with --folder")
    p.add_argument("--shard", type=Path, nargs="+")
    p.add_argument("--nothing", action="store_true")
    p.add_argument("--tts", metavar="VOICE_MODEL")
    p.add_argument("--minutes", type=float, default=0.0, help="of a long text, with --tts")
    p.add_argument("--count", type=int, default=200, help="at most so many recordings or sentences")
    p.add_argument("--delay", type=float, nargs="+", default=[None])
    p.add_argument("--plot", type=Path, metavar="PNG", help="draw words wrong against the delay")
    p.add_argument("--batch", type=int, default=8)
    return p


class Wrong(NamedTuple):
    """Words wrong of words spoken."""

    wrong: int
    spoken: int

    def __str__(self) -> str:
        return f"{self.wrong / self.spoken:.1%} ({self.wrong} of {self.spoken} words)"


def wrong_words(spoken: list[str], heard: list[str]) -> Wrong:
    pairs = [
        word_errors(*(" ".join(words_of(text)) for text in pair))
        for pair in zip(spoken, heard, strict=True)
    ]
    return Wrong(*(sum(column) for column in zip(*pairs, strict=True)))


def texts_of(heard: list) -> list[str]:
    return [result.text for result in heard]


def whole_words(words: list, result) -> tuple[str, str]:
    """What was spoken in a session and what was heard, up to the word that its end cuts off."""
    cut = min((word.start for word in words if word.end > SECONDS), default=LAST_WORD)
    known = cut - 1 / labels.FRAME_RATE  # what is heard may be a frame early
    return tuple(
        " ".join(word.text for word in part if word.start < limit)
        for part, limit in ((words, cut), (result.words, known))
    )


def late_starts(spoken: list, heard: list) -> list[float]:
    """Seconds by which words that were heard rightly start too late."""
    late = []
    for words, result in zip(spoken, heard, strict=True):
        for word in result.words:
            same = [word.start - other.start for other in words if other.text == word.text]
            nearest = min(same, key=abs, default=_NEAR)
            if abs(nearest) < _NEAR:
                late.append(nearest)
    return late


def pause_figures(spoken: list, heard: list) -> list[str]:
    """Precision and recall of each head, where the answer is known: by frame, and by pause.

    A head tells of a pause from its first frame on, before the pause has lasted as long. By pause,
    one frame is enough: each stretch that the head calls a pause is right if a part of it is, and
    each pause is found if the head tells of a part of it.
    """
    pairs = []
    for words, result in zip(spoken, heard, strict=True):
        told = np.array([list(p.probabilities.values()) for p in result.pauses]).T > 0.5
        target = labels.pauses(words, told.shape[1] + 1, SECONDS)[:, 1:]
        pairs.append((told & (target != labels.UNTOLD), target == labels.SILENT))
    lines = []
    for head, seconds in enumerate(labels.PAUSES):
        frames, pauses = np.zeros(4, int), np.zeros(4, int)
        for told, silent in pairs:
            said, wanted = told[head], silent[head]
            hits = (said & wanted).sum()
            frames += (hits, said.sum(), hits, wanted.sum())
            right = [wanted[stretch].any() for stretch in stretches(said)]
            found = [said[stretch].any() for stretch in stretches(wanted)]
            pauses += (sum(right), len(right), sum(found), len(found))
        lines.append(
            f"pauses of {seconds:g} s: {precision_recall(*frames)}; "
            f"by pause: {precision_recall(*pauses)}"
        )
    return lines


def turn_figures(spoken: list, heard: list) -> str:
    """Precision and recall of the ends of turns, where a turn ends in a pause of 1 s or more.

    Each end that is told is right if it lies in such a pause; each such pause after a word is found
    if an end is told in it. What the recording's end cuts short is not counted.
    """
    told, found, wanted = 0, 0, 0
    late = []  # seconds, of each that is right
    for words, result in zip(spoken, heard, strict=True):
        ends = [turn.time for turn in result.turns]
        for start, end, known in labels.gaps(words, SECONDS):
            if start == 0:
                continue  # nobody has spoken
            inside = [time - start for time in ends if start <= time <= end]
            if end - start >= _TURN:
                wanted, found = wanted + 1, found + bool(inside)
                late += inside
            elif not known:
                told -= len(inside)
        told += len(ends)
    figures = precision_recall(len(late), told, found, wanted)
    return (
        f"ends of turns, pauses of {_TURN:g} s: {figures}, "
        f"median {np.median(late or [0]):.2f} s after the last word"
    )


def stretches(mask: np.ndarray) -> list[slice]:
    """Where a bool array is true without a break."""
    edges = np.flatnonzero(np.diff(np.pad(mask.astype(int), 1)))
    return [slice(start, end) for start, end in edges.reshape(-1, 2)]


def precision_recall(right: int, said: int, found: int, wanted: int) -> str:
    return f"precision {right / max(1, said):.2f}, recall {found / max(1, wanted):.2f}"


def hear(stt, sounds: list, args: argparse.Namespace, delay: float | None) -> list:
    return stt.transcribe(sounds, sample_rate=RATE, delay=delay, batch=args.batch)


def of_folder(stt, args: argparse.Namespace) -> Figures:
    files = sorted(args.folder.glob("*.wav"))[: args.count]
    texts = [file.with_suffix(".txt").read_text() for file in files]
    sounds = files
    if args.decoded:
        codec = dsm_mlx.load_codec(args.model)
        sounds = [decoded(codec, read(file)) for file in files]

    def figures(delay: float | None) -> list:
        heard = hear(stt, sounds, args, delay)
        return [wrong_words(texts, texts_of(heard))]

    return figures


def decoded(codec, pcm: np.ndarray) -> np.ndarray:
    """What the codec makes of a sound (samples,)."""
    return np.array(codec.decode(codec.encode(pcm[None, None])))[0, 0]


def of_shard(stt, args: argparse.Namespace) -> Figures:
    parts = [np.load(path) for path in args.shard]
    spoken = [words for part in parts for words in read_words(part["words"])][: args.count]
    audio = [to_float(pcm) for part in parts for pcm in part["pcm"]][: args.count]
    texts = [" ".join(word.text for word in words) for words in spoken]

    def figures(delay: float | None) -> list:
        heard = hear(stt, audio, args, delay)
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


def of_nothing(stt, args: argparse.Namespace) -> Figures:
    """A minute each."""
    rng, samples = np.random.default_rng(9), 60 * RATE
    sounds = {
        "silence": np.zeros(samples),
        "noise": effects.noise(samples, rng) * _LOUD,
        "tones": effects.tones(samples, rng) * _LOUD,
    }
    audio = [sound.astype(np.float32) for sound in sounds.values()]

    def figures(delay: float | None) -> list:
        heard = stt.transcribe(audio, sample_rate=RATE, delay=delay, batch=len(audio))
        return [f"{name}: {len(h.words)} words" for name, h in zip(sounds, heard, strict=True)]

    return figures


def of_voices(stt, args: argparse.Namespace) -> Figures:
    """Held-out sentences, each voice in its turn; then, if asked for, a long text in one voice."""
    tts, rng = dsm_mlx.load_tts(args.tts), random.Random(9)
    texts = [sentence(rng, held_out=True) for _ in range(args.count)]
    names = tts.voices()
    voices = np.array([names[i % len(names)] for i in range(len(texts))])
    began = time.monotonic()
    made = tts.synthesize(texts, list(voices), seed=list(range(len(texts))), batch=args.batch)
    sounds = [speech.audio for speech in made]
    lines = [f"real-time factor {(time.monotonic() - began) * RATE / sum(map(len, sounds)):.2f}"]
    timbres = np.stack([timbre(sound) for sound in sounds])
    if len(names) > 1 and len(texts) > 2 * len(names):
        lines.append(f"{len(names)} voices: {told_apart(timbres, voices):.0%} told by their sound")
    spoken = [(texts, sounds)]
    if args.minutes:
        long = " ".join(sentence(rng, held_out=True) for _ in range(round(24 * args.minutes)))
        speech = tts.synthesize(long, names[0], seed=1)
        lines.append(stays(speech, names[0], timbres, voices))
        spoken.append(([long], [speech.audio]))

    def figures(delay: float | None) -> list:
        wrong = [
            wrong_words(said, texts_of(hear(stt, sounds, args, delay))) for said, sounds in spoken
        ]
        return [*lines, *wrong]

    return figures


def stays(speech, name: str, timbres: np.ndarray, voices: np.ndarray) -> str:
    """How many minutes of a long speech have the sound of the voice that spoke it."""
    known, minute = Voices(timbres, voices), 60 * speech.sample_rate
    parts = [
        speech.audio[i : i + minute] for i in range(0, len(speech.audio) - minute // 2, minute)
    ]
    same = sum(known.nearest(timbre(part)) == name for part in parts)
    return (
        f"{len(speech.audio) / minute:.1f} minutes in one go: {same} of {len(parts)} in its voice"
    )


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    stt = dsm_mlx.load_stt(args.model)
    curve = []
    jobs = {"folder": of_folder, "shard": of_shard, "nothing": of_nothing, "tts": of_voices}
    for name, job in jobs.items():
        if not getattr(args, name):
            continue
        figures = job(stt, args)
        for delay in args.delay:
            for line in figures(delay):
                print(f"{name}, delay {delay or stt.delay} s, {line}", flush=True)
                if isinstance(line, Wrong):
                    curve.append((delay or stt.delay, line.wrong / line.spoken))
    if args.plot:
        plot(curve, args.plot)
    return 0


def plot(curve: list[tuple[float, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(6, 4))).add_subplot()
    axes.plot([delay for delay, _ in curve], [100 * rate for _, rate in curve], "o-")
    axes.set(xlabel="delay, s", ylabel="words wrong, %", ylim=0)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    sys.exit(main())
