#!/usr/bin/env python
"""What `gain="auto"` is worth: words wrong by the level of the sound and its offset.

    python tools/levels.py                     the bundled model: docs/words.md has its table
    python tools/levels.py MODEL --count 20    a third of the sound

Sentences that no model of ours was trained on, by known voices, each heard by itself, so that the
level has to be found within its first word. They are rounded to 16 bits after they were made
softer, as a sound card does. Needs the libraries of espeak-ng and flite (sudo apt install
libespeak-ng1 libflite1). The table goes to stdout, or with --json the same as one JSON object;
progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

sys.path.append(str(Path(__file__).parent / "train"))  # the synthesizers

from evaluation import figures, talks
from evaluation.level import CONDITIONS, Condition
from evaluation.report import percent
from speech.libraries import require

import dsm_mlx
from dsm_mlx.cli.arguments import whole
from dsm_mlx.cli.common import exit_status

_ROWS = 8


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python tools/levels.py", description="Words wrong by level, without and with gain."
    )
    p.add_argument("model", nargs="?", default="tiny", help="as for load_stt (default: tiny)")
    p.add_argument(
        "--count", type=whole(1), default=60, metavar="N", help="sentences (default: 60)"
    )
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    args = parser().parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    """Measure, and show what is known, even where something goes wrong after that."""
    require("levels.py")
    said = [talks.sentence("known voices", seed) for seed in range(args.count)]
    rows: list[dict] = []
    try:
        with dsm_mlx.load_stt(args.model) as stt:
            conditions = tqdm(CONDITIONS, "levels", disable=None)
            rows.extend(measured(stt, said, condition) for condition in conditions)
    finally:
        if rows:
            about = {"model": args.model, "count": args.count, "rows": rows}
            print(json.dumps(about, indent=1) if args.json else table(rows), flush=True)
    return 0


def measured(stt: dsm_mlx.SpeechToText, said: list[talks.Talk], condition: Condition) -> dict:
    """The share of words that are wrong, heard as they come and with the level put right."""
    sounds = [condition.apply(talk.pcm, seed) for seed, talk in enumerate(said)]
    texts = [" ".join(word.text for word in talk.words) for talk in said]
    row = {"sound": condition.name, "words": sum(len(talk.words) for talk in said)}
    for name, gain in (("off", None), ("auto", "auto")):
        heard = stt.transcribe(sounds, sample_rate=talks.SAMPLE_RATE, batch=_ROWS, gain=gain)
        pairs = [(text, result.text) for text, result in zip(texts, heard, strict=True)]
        row[name] = figures.word_error_rate(pairs)
    return row


def table(rows: list[dict]) -> str:
    """Markdown, padded to be read as it is."""
    lines = [
        f"| {row['sound']:<18} | {percent(row['off']):>6} | {percent(row['auto']):>9} |"
        for row in rows
    ]
    head = f"| {'words wrong, of ' + str(rows[0]['words']):<18} | as is  | gain=auto |"
    return "\n".join([head, f"|{'-' * 20}|{'-' * 8}|{'-' * 11}|", *lines])


if __name__ == "__main__":
    sys.exit(main())
