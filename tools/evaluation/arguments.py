"""The arguments of tools/evaluate.py."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsm_mlx.cli.arguments import whole
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.loading.options import DTYPES
from evaluation import points
from evaluation.sets import NAMES


def parser(audio: Path) -> argparse.ArgumentParser:
    """audio: recordings that are heard where none are named."""
    p = argparse.ArgumentParser(
        prog="python tools/evaluate.py",
        description="Compare converted models with their source; score a model on recordings.",
    )
    p.add_argument("models", nargs="*", help="folders, hub ids, short names; the first: reference")
    p.add_argument("--kind", choices=("stt", "tts"), help="which half of tiny (default: stt)")
    p.add_argument("--text", type=Path, metavar="FILE", help="for text to speech: a text a line")
    p.add_argument("--voice", help="for text to speech")
    p.add_argument("--stt", metavar="MODEL", help="listens to text to speech, for the WER")
    p.add_argument("--dtype", choices=tuple(DTYPES), help="of activations")
    p.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    _add_comparison(p.add_argument_group("models compared with the first"), audio)
    _add_scores(p.add_argument_group("one model, scored"))
    return p


def _add_comparison(group: argparse._ArgumentGroup, audio: Path) -> None:
    group.add_argument(
        "--recipes",
        nargs="*",
        metavar="NAME",
        choices=tuple(RECIPES),
        help="convert the first model by these too; without names, by all",
    )
    group.add_argument(
        "--audio",
        nargs="+",
        type=Path,
        metavar="PATH",
        default=[audio],
        help="for speech to text: sound files or folders, texts beside them as NAME.txt",
    )
    group.add_argument(
        "--paces",
        nargs="*",
        type=float,
        metavar="X",
        help="how fast one model speaks at each, and how well it is understood (by --stt, or tiny)",
    )


def _add_scores(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--set",
        nargs="+",
        metavar="PATH_OR_NAME",
        help="a LibriSpeech tree, .stm, CSV or JSONL with audio and text, a folder of sound with "
        f"NAME.txt, or {', '.join(NAMES)}",
    )
    group.add_argument(
        "--curve",
        nargs="+",
        type=_curve,
        metavar="NAME[=X,X]",
        help=f"the score at several points: {', '.join(points.CURVES)}",
    )
    group.add_argument(
        "--codec", action="store_true", help="score what the model's codec leaves of the sound"
    )
    group.add_argument("--plot", metavar="FILE", help="draw each curve, as FILE-CURVE.png or .svg")
    group.add_argument("--count", type=whole(1), metavar="N", help="recordings of each set at most")
    group.add_argument(
        "--language", metavar="XX", help="of the texts (default: the set's own, or en)"
    )
    group.add_argument("--worst", type=whole(0), default=5, metavar="N", help="files to show")
    group.add_argument("--batch", type=whole(1), default=8, metavar="N", help="at the same time")
    group.add_argument(
        "--like",
        type=Path,
        metavar="FILE",
        help="a recording of the voice, to compare what is said with (pip install Resemblyzer)",
    )
    group.add_argument(
        "--root", type=Path, default=Path("/"), help="below which Debian's packages lie"
    )


def _curve(text: str) -> tuple[str, tuple[str, ...]]:
    try:
        return points.asked(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def scored(args: argparse.Namespace) -> bool:
    """Whether one model is to be scored, rather than several compared."""
    return bool(args.set or args.curve or args.codec)
