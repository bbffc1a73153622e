"""python -m dsm_mlx.tts: text, or what comes through a pipe -> loudspeaker, file or pipe."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from dsm_mlx.command import guard
from dsm_mlx.tts import commands


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m dsm_mlx.tts",
        description="Text to speech on this machine. Without --out it plays the sound.",
        epilog='Text may hold <break time="500ms"/> or <break time="0.5s"/>.',
    )
    p.add_argument("text", nargs="*", help="what to say; - reads stdin and speaks as it comes")
    p.add_argument("--model", help="folder, hub id, or tiny, tts-1.6b, tts-0.75b")
    p.add_argument("--revision", help="of the hub repository")
    p.add_argument("--bits", type=int, choices=(4, 8), help="quantise while loading")
    p.add_argument("--codebooks", type=int, metavar="N", help="fewer are faster and sound poorer")
    p.add_argument("--voice", help="name (--list-voices), path, or hf://owner/repository/path")
    p.add_argument("--list-voices", action="store_true", help="show the model's voices and exit")
    p.add_argument("--out", metavar="FILE", help="write a WAV file; - for raw 16-bit 24 kHz mono")
    p.add_argument("--play", action="store_true", help="play it too, with --out")
    p.add_argument("--device", metavar="N", help="loudspeaker: its number, or part of its name")
    p.add_argument("--seed", type=int, help="for a result that can be repeated")
    p.add_argument("--temperature", type=float, help="0 to 1 or so (default: the model's own)")
    p.add_argument(
        "--cfg",
        type=float,
        help="strength of guidance (default: the model's own, or 2 where it was taught it)",
    )
    p.add_argument("--words", metavar="FILE.json", type=Path, help="write words with their times")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage)."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    return guard(lambda: (commands.list_voices if args.list_voices else commands.speak)(args))


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.seed is not None and args.seed < 0:
        p.error("--seed must be 0 or more")
    temperature = args.temperature
    if temperature is not None and not (math.isfinite(temperature) and temperature >= 0):
        p.error("--temperature must be 0 or more")
    if args.list_voices:
        return
    if not args.text:
        p.error("give a text, or - for stdin")
    if "-" in args.text and len(args.text) > 1:
        p.error("- cannot be combined with a text")
    if args.out == "-" and sys.stdout.isatty():
        p.error("--out - writes raw sound, which a terminal cannot show; send it to a program")
    if args.out not in (None, "-") and not args.out.lower().endswith(".wav"):
        p.error("--out writes WAV: give a name that ends in .wav, or -")


if __name__ == "__main__":
    sys.exit(main())
