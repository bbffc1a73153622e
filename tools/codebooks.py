#!/usr/bin/env python
"""What a speech-to-text model still understands when it hears with fewer codebooks than it has.

    python tools/codebooks.py                           the bundled model, every number of them
    python tools/codebooks.py stt-1b --counts 32 24 16 --audio FOLDER

Sound files have their text beside them as NAME.txt. The table goes to stdout: of each number of
codebooks the share of words wrong (WER), and the median time of a live frame.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from evaluation import figures
from evaluation.listening import Recording, frame_seconds, recordings
from evaluation.report import percent

import dsm_mlx
from dsm_mlx.cli.common import exit_status, put
from dsm_mlx.errors import AudioError
from dsm_mlx.stt.model import SpeechToText

_AUDIO = Path(__file__).parent.parent / "demos/audio"


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    p = argparse.ArgumentParser(
        prog="python tools/codebooks.py", description="Hear with fewer codebooks, and count errors."
    )
    p.add_argument("model", nargs="?", default="tiny", help="folder, hub id or short name")
    p.add_argument("--counts", nargs="+", type=int, metavar="N", help="how many (default: all)")
    p.add_argument("--audio", nargs="+", type=Path, metavar="PATH", default=[_AUDIO])
    args = p.parse_args(argv)
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    items = [item for item in recordings(args.audio) if item.text is not None]
    if not items:
        raise AudioError(f"{', '.join(map(str, args.audio))}: no text beside the sound (NAME.txt)")
    put("| codebooks | WER | ms a frame |\n|---|---|---|\n")
    for count in args.counts or _all(args.model):
        with dsm_mlx.load_stt(args.model, codebooks=count) as stt:
            heard = stt.transcribe([item.path for item in items])
            pairs = [(item.text, one.text) for item, one in zip(items, heard, strict=True)]
            wrong = percent(figures.word_error_rate(pairs))
            put(f"| {count} | {wrong} | {_milliseconds(stt, items[0]):.1f} |\n")
    return 0


def _all(model: str) -> range:
    with dsm_mlx.load_stt(model) as stt:
        return range(stt.info.codebooks, 0, -1)


def _milliseconds(stt: SpeechToText, item: Recording) -> float:
    """Of a frame of one live row: the median, when all is compiled."""
    times = frame_seconds(stt, item.path)
    return 1e3 * float(np.median(times[len(times) // 2 :]))


if __name__ == "__main__":
    sys.exit(main())
