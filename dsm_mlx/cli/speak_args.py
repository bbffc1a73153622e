"""The arguments of the tts command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from dsm_mlx.cli.arguments import (
    OF_MODEL,
    add_devices,
    add_model,
    add_sampling,
    add_server,
    between,
    check_server,
    new_parser,
)
from dsm_mlx.tts.pace import FASTEST, LONGEST, SLOWEST
from dsm_mlx.tts.text.rules import CHOICES

EXAMPLES = """\
  %(prog)s "Good morning, my friend."
  some-llm | %(prog)s --model tts-1.6b -
  %(prog)s --text-file notes.txt --voice slt --pace 0.85 --out notes.mp3
  %(prog)s "Hello" --out - | aplay -f S16_LE -r 24000
  %(prog)s --list-voices --play
"""

# Shown by --help-all alone.
RARE = ("revision", "bits", "lora", "seed", "api_key", "list_devices")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for; `live` tells whether the text comes through stdin."""
    p = parser()
    args = p.parse_args(argv)
    check_server(p, args, *OF_MODEL, "list_voices", "pace", "max_seconds")
    args.live = args.text == ["-"]
    if args.list_voices:
        _check_preview(p, args)
    elif not (args.list_devices or args.list_models):
        _check(p, args)
    return args


def stream_options(args: argparse.Namespace) -> dict[str, Any]:
    """How to speak, for the `stream` of a model, or of a server's."""
    names = ["temperature", "cfg", "seed", "normalize", "lexicon"]
    if not args.server:
        names += ["pace", "max_seconds"]
    return {name: getattr(args, name) for name in names}


def parser() -> argparse.ArgumentParser:
    """Of all that the command takes."""
    p = new_parser(
        "Text to speech on this machine. Without --out it plays the sound.\n"
        'A text may hold <break time="500ms"/> or <break time="0.5s"/>.',
        EXAMPLES,
        RARE,
    )
    p.usage = "%(prog)s [options] TEXT ... | - | --text-file FILE"
    text = p.add_argument_group("text")
    text.add_argument(
        "text", nargs="*", metavar="TEXT", help="what to say; - reads stdin and speaks as it comes"
    )
    text.add_argument("--text-file", metavar="FILE", type=Path, help="say a file, in UTF-8")
    text.add_argument(
        "--normalize",
        choices=(*CHOICES, "off"),
        default="auto",
        metavar="HOW",
        help="numbers, Markdown to words: auto (default), en, fr, off",
    )
    text.add_argument(
        "--lexicon", metavar="FILE", type=Path, help="lines `written = said`, for names"
    )
    _add_voice(p)
    model = add_model(p, "tiny, tts-1.6b, tts-0.75b", "faster and sound poorer")
    add_sampling(model, "the model's own")
    model.add_argument("--cfg", type=float, metavar="X", help="guidance (default: the model's own)")
    add_server(p)
    out = p.add_argument_group("output")
    out.add_argument(
        "--out", metavar="FILE", help="a wav, flac, mp3 or ogg file; - for raw s16 24 kHz mono"
    )
    out.add_argument("--play", action="store_true", help="play it too, with --out")
    out.add_argument("--words", metavar="JSON", type=Path, help="a file for the words' times")
    add_devices(p, "loudspeaker", out)
    return p


def _add_voice(p: argparse.ArgumentParser) -> None:
    """Who speaks, and how fast."""
    group = p.add_argument_group("voice")
    group.add_argument("--voice", metavar="NAME", help="or a path, or hf://owner/repository/path")
    group.add_argument(
        "--list-voices", action="store_true", help="show them; --play: each says a sentence"
    )
    group.add_argument(
        "--pace",
        type=between(SLOWEST, FASTEST),
        metavar="X",
        default=1.0,
        help=f"{SLOWEST:g} (slow) to {FASTEST:g} (fast); default: 1",
    )
    group.add_argument(
        "--max-seconds", type=between(0.08, LONGEST), metavar="S", help="end a longer text there"
    )


def _check_preview(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.out or args.words:
        p.error("--list-voices shows or plays voices, and writes no file")
    if args.live or args.text_file:
        p.error("--list-voices says a short text, which is given as an argument")


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.text_file:
        if args.text:
            p.error("--text-file cannot be combined with a text")
    elif not args.text:
        p.error("give a text, or - for stdin, or --text-file")
    if "-" in args.text and len(args.text) > 1:
        p.error("- cannot be combined with a text")
    if args.out and args.words and Path(args.out) == args.words:
        p.error("--out and --words name the same file")
    if args.out == "-" and sys.stdout and sys.stdout.isatty():
        p.error("--out - writes raw sound, which a terminal cannot show; send it to a program")
    if args.out in (None, "-"):
        return
    from dsm_mlx.audio.writer import check_suffix

    try:
        check_suffix(args.out)
    except ValueError as error:
        p.error(f"--out {error}")
