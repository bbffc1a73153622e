"""The arguments of the stt command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dsm_mlx import captions
from dsm_mlx.cli.arguments import (
    add_devices,
    add_model,
    add_sampling,
    add_server,
    check_server,
    new_parser,
    not_negative,
    whole,
)
from dsm_mlx.cli.common import shown_name
from dsm_mlx.errors import AudioError

# How the names of sound files end: of a folder, those are taken.
SOUND = {
    ".aac", ".aif", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac", ".flv", ".m4a", ".m4b", ".m4v",
    ".mka", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".ogv", ".opus", ".ts",
    ".wav", ".weba", ".webm", ".wma", ".wmv",
}  # fmt: skip

EXAMPLES = """\
  %(prog)s talk.mp3
  %(prog)s talk.mp3 --output-format srt > talk.srt
  %(prog)s recordings --output-dir texts --output-format all
  %(prog)s --mic
  %(prog)s --mic --server http://localhost:8080
  ffmpeg -i talk.mkv -f wav - | %(prog)s -
  arecord -t raw -f S16_LE -r 16000 | %(prog)s - --rate 16000
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, with folders replaced by the sound files in them."""
    p = parser()
    args = p.parse_args(argv)
    if not args.list_devices:
        args.files = [file for name in args.files for file in _sound_files(name)]
        args.named = len(args.files) > 1  # in what goes to stdout
        _check(p, args)
    return args


def parser() -> argparse.ArgumentParser:
    p = new_parser(
        "Speech to text on this machine. Words go to stdout, all else to stderr.", EXAMPLES
    )
    p.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="sound files (wav, flac, ogg, mp3, m4a, ...), or folders of them; - reads stdin",
    )
    p.add_argument("--mic", action="store_true", help="live captions from the microphone")
    p.add_argument(
        "--gain",
        choices=("auto", "off"),
        help="speech far too soft or loud is put right (default: auto for --mic)",
    )
    p.add_argument("--batch", type=whole(1), default=1, metavar="N", help="files at the same time")
    model = add_model(p, "tiny, stt-1b, stt-2.6b")
    model.add_argument("--delay", type=not_negative, metavar="S", help="for models that take one")
    add_sampling(model, "0, the most likely words")
    add_server(p)
    out = p.add_argument_group("output")
    out.add_argument("--output-format", choices=(*captions.FORMATS, "all"), default="txt")
    out.add_argument("--output-dir", type=Path, help="write NAME.FORMAT there (live.FORMAT)")
    out.add_argument("--timestamps", action="store_true", help="a line a word, with its times")
    out.add_argument("--pauses", action="store_true", help="show where turns end")
    raw = p.add_argument_group("samples without a header, by -", "default: s16le, 24000, 1")
    raw.add_argument("--rate", type=whole(1), metavar="HZ")
    raw.add_argument("--encoding", help="s16le, s24le, s32le, f32le, f64le, u8, u-law or a-law")
    raw.add_argument("--channels", type=whole(1), metavar="N", help="interleaved")
    add_devices(p, "microphone")
    return p


def _sound_files(name: str) -> list[str]:
    """The sound files in a folder, by their names' ends; anything else is what it is."""
    if not os.path.isdir(name):
        return [name]
    found = sorted(
        entry.path
        for entry in os.scandir(name)
        if not entry.name.startswith(".")
        and os.path.splitext(entry.name)[1].lower() in SOUND
        and entry.is_file()
    )
    if not found:
        known = " ".join(sorted(SOUND))
        raise AudioError(f"{shown_name(name)}: a folder without sound files ({known})")
    return found


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.mic and args.files:
        p.error("give files or --mic, not both")
    if not args.mic and not args.files:
        p.error("give one or more files, a folder, - for stdin, or --mic")
    if "-" in args.files:
        if len(args.files) > 1:
            p.error("- cannot be combined with other files")
        if sys.stdin and sys.stdin.isatty():
            p.error("- reads sound, which no keyboard gives; send it through a pipe")
    own = ("model", "revision", "bits", "delay", "temperature", "seed", "batch", "gain")
    check_server(p, args, *own)
    args.gain = "auto" if args.gain == "auto" or (args.mic and args.gain is None) else None
    _check_raw(p, args)
    _check_output(p, args)


def _check_raw(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make `args.raw` of what tells of samples without a header; None: nothing does."""
    given = {"encoding": args.encoding, "sample_rate": args.rate, "channels": args.channels}
    given = {name: value for name, value in given.items() if value is not None}
    args.raw = None
    if not given:
        return
    if args.files != ["-"]:
        p.error("--rate, --encoding and --channels tell what comes through a pipe: they need -")
    from dsm_mlx.audio import RawFormat

    try:
        args.raw = RawFormat(**given)
    except ValueError as error:
        p.error(str(error))


def _check_output(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.output_format == "all" and not args.output_dir:
        p.error("--output-format all needs --output-dir")
    if len(args.files) > 1 and args.output_format != "txt" and not args.output_dir:
        p.error(f"several files as {args.output_format} need --output-dir")
    if args.output_dir and (twice := _twice(Path(file).stem for file in args.files)):
        name = shown_name(twice)
        p.error(f"several files are called {name}: in --output-dir one would replace the other")
    if args.timestamps and args.output_format not in ("txt", "all"):
        p.error("--timestamps is for the txt format; the others have times anyway")


def _twice(names: Iterable[str]) -> str | None:
    """A name that comes more than once, also where a file system ignores case."""
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return None
