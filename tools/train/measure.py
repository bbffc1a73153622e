"""How well a checkpoint hears: words wrong on recordings and on held-out generated speech.

    python tools/train/measure.py MODEL [--folder DIR] [--shard FILE.pcm.npz] [--count N]

MODEL is what dsm_mlx.load_stt takes. --folder: NN.wav with NN.txt, as tools/make_speech.py writes
them. --shard: sessions of `run.py --stage speech`, such as test-00000.pcm.npz. Needs no PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from speech.shards import read_words, to_float
from speech.text import words_of

import dsm_mlx


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("model")
    p.add_argument("--folder", type=Path)
    p.add_argument("--shard", type=Path)
    p.add_argument("--count", type=int, help="only the first COUNT recordings")
    p.add_argument("--delay", type=float, nargs="+", default=[None])
    p.add_argument("--batch", type=int, default=8)
    return p


def errors(reference: list[str], heard: list[str]) -> int:
    """Words wrong, missing and too many."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(reference, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other)))
    return row[-1]


def starts(words, heard) -> list[float]:
    """Seconds by which the starts of rightly heard words are late: the nearest one of the same."""
    late = []
    for word in heard:
        same = [word.start - other.start for other in words if other.text == word.text]
        nearest = min(same, key=abs, default=None)
        if nearest is not None and abs(nearest) < 0.5:
            late.append(nearest)
    return late


def measure(stt, audio: list, texts: list[list[str]], delay: float | None, batch: int):
    """Returns the transcripts, the words that are wrong and the words there are."""
    results = stt.transcribe(audio, sample_rate=24_000, delay=delay, batch=batch)
    wrong = sum(
        errors(text, words_of(result.text)) for text, result in zip(texts, results, strict=True)
    )
    return results, wrong, sum(map(len, texts))


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    stt = dsm_mlx.load_stt(args.model)
    for delay in args.delay:
        name = f"delay {delay or stt.delay} s"
        if args.folder:
            files = sorted(args.folder.glob("*.wav"))[: args.count]
            texts = [words_of(file.with_suffix(".txt").read_text()) for file in files]
            _, wrong, all_ = measure(stt, files, texts, delay, args.batch)
            print(f"{args.folder.name}, {name}: {wrong / all_:.1%} ({wrong} of {all_} words)")
        if args.shard:
            _of_shard(stt, args, delay, name)
    return 0


def _of_shard(stt, args: argparse.Namespace, delay: float | None, name: str) -> None:
    shard = np.load(args.shard)
    words = read_words(shard["words"])[: args.count]
    audio = list(to_float(shard["pcm"][: args.count]))
    texts = [[word.text for word in session] for session in words]
    results, wrong, all_ = measure(stt, audio, texts, delay, args.batch)
    late = [s for w, r in zip(words, results, strict=True) for s in starts(w, r.words)]
    print(
        f"{args.shard.name}, {name}: {wrong / all_:.1%} ({wrong} of {all_} words); starts "
        f"{np.median(late) * 1000:+.0f} ms, median error {np.median(np.abs(late)) * 1000:.0f} ms"
    )


if __name__ == "__main__":
    sys.exit(main())
