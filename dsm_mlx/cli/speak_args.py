"""The arguments of the tts command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dsm_mlx.cli.arguments import (
    add_devices,
    add_model,
    add_sampling,
    add_server,
    check_server,
    new_parser,
    whole,
)

EXAMPLES = """\
  %(prog)s "Good morning, my friend."
  %(prog)s "Wait <break time='500ms'/> for me." --voice slt --out hello.mp3
  some-llm | %(prog)s --model tts-1.6b -
  %(prog)s "Hello" --out - | aplay -f S16_LE -r 24000
  %(prog)s "Hello" --server http://localhost:8080
  %(prog)s --list-voices
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = parser()
    args = p.parse_args(argv)
    check_server(p, args, "model", "revision", "bits", "codebooks", "list_voices")
    if not (args.list_voices or args.list_devices or args.list_models):
        _check(p, args)
    return args


def parser() -> argparse.ArgumentParser:
    p = new_parser(
        "Text to speech on this machine. Without --out it plays the sound.\n"
        'A text may hold <break time="500ms"/> or <break time="0.5s"/>.',
        EXAMPLES,
    )
    p.add_argument("text", nargs="*", help="what to say; - reads stdin and speaks as it comes")
    p.add_argument("--voice", help="name (--list-voices), path, or hf://owner/repository/path")
    p.add_argument("--list-voices", action="store_true", help="show the model's voices and exit")
    model = add_model(p, "tiny, tts-1.6b, tts-0.75b")
    model.add_argument(
        "--codebooks", type=whole(1), metavar="N", help="fewer are faster and sound poorer"
    )
    add_sampling(model, "the model's own")
    model.add_argument(
        "--cfg",
        type=float,
        metavar="X",
        help="strength of guidance (default: the model's own, or 2 where it was taught it)",
    )
    add_server(p)
    out = p.add_argument_group("output")
    out.add_argument(
        "--out",
        metavar="FILE",
        help="write a wav, flac, mp3 or ogg file; - for raw 16-bit 24 kHz mono",
    )
    out.add_argument("--play", action="store_true", help="play it too, with --out")
    out.add_argument("--words", metavar="FILE.json", type=Path, help="write words and their times")
    add_devices(p, "loudspeaker")
    return p


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not args.text:
        p.error("give a text, or - for stdin")
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
