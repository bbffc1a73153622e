#!/usr/bin/env python
"""What `boost=` is worth: rare names that are found, and plain words that are spoilt.

    python tools/boost.py                           the bundled model: docs/hearing.md has its table
    python tools/boost.py MODEL --strengths 2 4 --plain 100 --names 52

The names come in lists, as the guests of a meeting do. Every sentence is heard with one: those that
have a name with the list that it is on, plain ones with names that nobody says. Needs the libraries
of espeak-ng and flite (sudo apt install libespeak-ng1 libflite1). The same command makes the same
sound. The table goes to stdout, or with --json the same as JSON; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

sys.path.append(str(Path(__file__).parent / "train"))  # the synthesizers

from evaluation import names, talks
from evaluation.figures import word_errors, words
from evaluation.report import percent
from speech.libraries import require

import dsm_mlx
from dsm_mlx.cli.arguments import whole
from dsm_mlx.cli.common import exit_status
from dsm_mlx.stt.boost import STRENGTH

_PLAIN = 900_000  # where the seeds of plain sentences begin


class Said(NamedTuple):
    """A sentence, as float32 pcm (samples,) too, the name in it or "", and the number of the list
    of names that it is heard with."""

    text: str
    pcm: np.ndarray
    name: str
    group: int


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python tools/boost.py", description="Names found and words spoilt by boost=."
    )
    p.add_argument("model", nargs="?", default="tiny", help="as for load_stt (default: tiny)")
    p.add_argument("--strengths", nargs="+", type=float, default=[STRENGTH], metavar="N")
    p.add_argument("--names", type=whole(1), default=104, metavar="N", help="sentences with a name")
    p.add_argument("--plain", type=whole(1), default=500, metavar="N", help="sentences without")
    p.add_argument("--phrases", type=whole(1), default=5, metavar="N", help="names in a list")
    p.add_argument(
        "--batch", type=whole(1), default=8, metavar="N", help="sentences at the same time"
    )
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    args = parser().parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    """Measure, and show what is known, even where something goes wrong after that."""
    require("boost.py")
    groups = names.in_groups(args.phrases)
    rows: list[dict] = []
    try:
        with dsm_mlx.load_stt(args.model) as stt:
            sentences, before = spoken(args.names, args.plain, groups), None
            for strength in (0.0, *args.strengths):
                heard = _heard(stt, sentences, groups, strength, args.batch)
                before = before or heard
                rows.append({"strength": strength} | figures(sentences, before, heard))
    finally:
        if rows:
            print(json.dumps(rows, indent=1) if args.json else table(rows), flush=True)
    return 0


def spoken(count: int, plain: int, groups: Sequence[Sequence[str]]) -> list[Said]:
    """Sentences with names and without, by voices of tiny's training."""
    made = []
    for seed in tqdm(range(count), "names", disable=None):
        name, text = names.sentence(seed)
        group = next(i for i, group in enumerate(groups) if name in group)
        made.append(Said(text, talks.of_text(text, seed).pcm, name, group))
    for seed in tqdm(range(plain), "plain", disable=None):
        talk = talks.sentence("known voices", _PLAIN + seed)
        text = " ".join(word.text for word in talk.words)
        made.append(Said(text, talk.pcm, "", seed % len(groups)))
    return made


def _heard(stt, sentences: list[Said], groups, strength: float, batch: int) -> list[str]:
    """The texts of all sentences, each heard with its list at this strength; 0: with none."""
    heard = [""] * len(sentences)
    for group, phrases in enumerate(tqdm(groups, f"strength {strength:g}", disable=None)):
        places = [i for i, said in enumerate(sentences) if said.group == group]
        results = stt.transcribe(
            [sentences[i].pcm for i in places],
            sample_rate=talks.SAMPLE_RATE,
            batch=batch,
            boost=dict.fromkeys(phrases, strength) if strength else None,
        )
        for i, result in zip(places, results, strict=True):
            heard[i] = result.text
    return heard


def figures(sentences: Sequence[Said], before: Sequence[str], heard: Sequence[str]) -> dict:
    """Of sentences with a name: how many have it, and all their words. Of plain ones: how many
    changed, and words that were right and are wrong. before: what was heard without a list."""
    found = {"names": 0, "found": 0, "plain": 0, "changed": 0, "spoilt": 0}
    errors = {"name": [0, 0], "plain": [0, 0]}
    for said, old, new in zip(sentences, before, heard, strict=True):
        wrong, count = word_errors(said.text, new)
        total = errors["name" if said.name else "plain"]
        total[0], total[1] = total[0] + wrong, total[1] + count
        if said.name:
            found["names"] += 1
            found["found"] += f" {' '.join(words(said.name))} " in f" {' '.join(words(new))} "
        else:
            found["plain"] += 1
            found["changed"] += old != new
            found["spoilt"] += max(0, wrong - word_errors(said.text, old)[0])
    rates = {f"wer_{kind}": w / n if n else None for kind, (w, n) in errors.items()}
    return found | rates


_COLUMNS = {
    "strength": lambda row: f"{row['strength']:g}",
    "names found": lambda row: f"{row['found']} of {row['names']}",
    "WER with names": lambda row: percent(row["wer_name"]),
    "plain sentences changed": lambda row: f"{row['changed']} of {row['plain']}",
    "words spoilt": lambda row: str(row["spoilt"]),
    "WER plain": lambda row: percent(row["wer_plain"]),
}


def table(rows: list[dict]) -> str:
    """Markdown, padded to be read as it is."""
    cells = [[show(row).ljust(len(name)) for name, show in _COLUMNS.items()] for row in rows]
    lines = [list(_COLUMNS), ["-" * len(name) for name in _COLUMNS], *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
