#!/usr/bin/env python
"""What `Word.confidence` and `TurnPolicy` are worth, on speech made by script.

    python tools/calibrate.py                        the bundled model: docs/words.md has its tables
    python tools/calibrate.py MODEL --count 20       a fifth of the sound
    python tools/calibrate.py --only turns --silence 4

Needs the libraries of espeak-ng and flite (sudo apt install libespeak-ng1 libflite1). The same
command makes the same sound. Tables go to stdout, or with --json the same as one JSON object;
progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

sys.path.append(str(Path(__file__).parent / "train"))  # the synthesizers

from evaluation import talks, turns
from evaluation.confidence import judge, summary
from evaluation.report import percent
from speech.libraries import require

import dsm_mlx
from dsm_mlx import SpeechToText
from dsm_mlx.cli.arguments import whole
from dsm_mlx.cli.common import exit_status

_APART = 100_000  # between the seeds of two kinds of recordings


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python tools/calibrate.py",
        description="Confidence against being right; precision and recall of ends of turns.",
    )
    p.add_argument("model", nargs="?", default="tiny", help="as for load_stt (default: tiny)")
    p.add_argument("--only", choices=("confidence", "turns"), help="one of the two")
    p.add_argument(
        "--count",
        type=whole(1),
        default=60,
        metavar="N",
        help="sentences of each condition, and at least so many turns of each kind (default: 60)",
    )
    p.add_argument(
        "--silence",
        type=_silence,
        default=2.5,
        metavar="SECONDS",
        help="after a turn (default: 2.5)",
    )
    p.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return p


def _silence(text: str) -> float:
    if not 1.2 < (value := float(text)) <= 60:
        raise argparse.ArgumentTypeError(f"{text} (expected more than 1.2, at most 60)")
    return value


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    args = parser().parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    """Measure, and show what is known, even where something goes wrong after that."""
    require("calibrate.py")
    about = {"model": args.model, "count": args.count, "silence": args.silence}
    known: dict = {}
    try:
        with dsm_mlx.load_stt(args.model) as stt:
            for name, job in {"confidence": of_confidence, "turns": of_turns}.items():
                if args.only in (None, name):
                    known[name] = job(stt, args)
    finally:
        if known:
            print(json.dumps(about | known, indent=1) if args.json else tables(known), flush=True)
    return 0


def of_confidence(stt: SpeechToText, args: argparse.Namespace) -> list[dict]:
    """Of sentences under each condition, and of all: how far confidence tells what is right."""
    judged, rows = [], []
    for kind, condition in enumerate(talks.CONDITIONS):
        found, said = [], 0
        for seed in tqdm(_seeds(kind, args.count), condition, disable=None):
            talk = talks.sentence(condition, seed)
            heard = stt.transcribe(talk.pcm, sample_rate=talks.SAMPLE_RATE)
            found += judge(" ".join(word.text for word in talk.words), heard.words)
            said += len(talk.words)
        rows.append({"condition": condition, "said": said} | summary(found))
        judged += found
    total = {"condition": "all", "said": sum(row["said"] for row in rows)}
    return [*rows, total | summary(judged)]


def of_turns(stt: SpeechToText, args: argparse.Namespace) -> list[dict]:
    """Of each kind of turns: the figures of each policy, all of them on the same pauses."""
    rows = []
    for kind, name in enumerate(talks.KINDS, len(talks.CONDITIONS)):
        heard = []
        for seed in tqdm(_seeds(kind, -(-args.count // talks.TURNS)), name, disable=None):
            talk = talks.turns(name, seed, args.silence)
            with stt.stream() as stream:
                heard.append((talk.turns, stream.feed(talk.pcm)))
        for policy in turns.POLICIES:
            told = [(known, turns.ends(events, policy, stt.frame_rate)) for known, events in heard]
            rows.append({"kind": name, "policy": turns.name_of(policy)} | turns.figures(told))
    return rows


def _seeds(kind: int, count: int) -> range:
    return range(kind * _APART, kind * _APART + count)


# ---- tables

_CONDITIONS = {
    "condition            ": lambda row: row["condition"],
    "said": lambda row: str(row["said"]),
    "heard": lambda row: str(row["words"]),
    "right ": lambda row: percent(row["right"]),
    "mean confidence": lambda row: _two(row["confidence"]),
    "error": lambda row: _two(row["errors"][0]),
    "of square": lambda row: _two(row["errors"][1]),
    "of cube": lambda row: _two(row["errors"][2]),
}
_TURNS = {
    "turns    ": lambda row: row["kind"],
    "policy                          ": lambda row: row["policy"],
    "number": lambda row: str(row["turns"]),
    "precision": lambda row: _two(row["precision"]),
    "recall": lambda row: _two(row["recall"]),
    "cut   ": lambda row: percent(row["cut"]),
    "delay s": lambda row: _two(row["delay"]),
}


def tables(known: dict) -> str:
    """Markdown, padded to be read as it is."""
    parts = []
    if rows := known.get("confidence"):
        columns = {
            "confidence  ": lambda bins: f"{bins[-1]['from']:g} to {bins[-1]['to']:g}",
            "mean": lambda bins: _two(bins[-1]["confidence"]),
        }
        for i, row in enumerate(rows):
            columns[row["condition"].ljust(13)] = partial(_share, i)
        parts += [_table(columns, list(zip(*(row["bins"] for row in rows), strict=True)))]
        parts += [_table(_CONDITIONS, rows)]
    if rows := known.get("turns"):
        parts += [_table(_TURNS, rows)]
    return "\n\n".join(parts)


def _share(i: int, bins: tuple[dict, ...]) -> str:
    """Of the i-th condition, what is right of how many words."""
    return f"{percent(bins[i]['right'])} of {bins[i]['words']}"


def _table(columns: dict[str, Callable[[Any], str]], rows: list) -> str:
    cells = [[show(row).ljust(len(name)) for name, show in columns.items()] for row in rows]
    lines = [list(columns), ["-" * len(name) for name in columns], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(main())
