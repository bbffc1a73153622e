"""python -m dsm_mlx.stt: files, a pipe or the microphone -> words with times."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from dsm_mlx.captions import FORMATS
from dsm_mlx.command import guard
from dsm_mlx.stt import commands


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m dsm_mlx.stt",
        description="Speech to text on this machine. Words go to stdout, all else to stderr.",
    )
    p.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="sound files (wav, flac, ogg, mp3, m4a, …); - reads WAV or raw 16-bit 24 kHz mono",
    )
    p.add_argument("--mic", action="store_true", help="live captions from the microphone")
    p.add_argument("--device", metavar="N", help="microphone: its number, or part of its name")
    p.add_argument("--list-devices", action="store_true", help="show sound devices and exit")
    p.add_argument("--model", help="folder, hub id, or tiny, stt-1b, stt-2.6b")
    p.add_argument("--revision", help="of the hub repository")
    p.add_argument("--bits", type=int, choices=(4, 8), help="quantise while loading")
    p.add_argument("--delay", type=float, metavar="S", help="delay, for models that take one")
    p.add_argument("--output-format", choices=(*FORMATS, "all"), default="txt")
    p.add_argument("--output-dir", type=Path, help="write NAME.FORMAT there (live.FORMAT)")
    p.add_argument("--timestamps", action="store_true", help="a line for each word, with its times")
    p.add_argument("--pauses", action="store_true", help="show where turns end")
    p.add_argument("--batch", type=int, default=1, metavar="N", help="files at the same time")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage)."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    return guard(lambda: _run(args))


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    live = args.mic or "-" in args.files
    if args.list_devices:
        return
    if args.mic and args.files:
        p.error("give files or --mic, not both")
    if not args.mic and not args.files:
        p.error("give one or more files, - for stdin, or --mic")
    if live and len(args.files) > 1:
        p.error("- cannot be combined with other files")
    if args.output_format == "all" and not args.output_dir:
        p.error("--output-format all needs --output-dir")
    if len(args.files) > 1 and args.output_format != "txt" and not args.output_dir:
        p.error(f"several files as {args.output_format} need --output-dir")
    if args.output_dir and (twice := _twice(Path(file).stem for file in args.files)):
        p.error(f"several files are called {twice}: in --output-dir one would replace the other")
    if args.timestamps and args.output_format not in ("txt", "all"):
        p.error("--timestamps is for the txt format; the others have times anyway")
    if args.batch < 1:
        p.error("--batch must be at least 1")


def _twice(names: Iterable[str]) -> str | None:
    """A name that comes more than once, also where a file system ignores case."""
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return None


def _run(args: argparse.Namespace) -> int:
    if args.list_devices:
        return commands.list_devices()
    import dsm_mlx

    stt = dsm_mlx.load_stt(args.model, bits=args.bits, revision=args.revision)
    if args.mic or args.files == ["-"]:
        return commands.transcribe_live(stt, args)
    return commands.transcribe_files(stt, args)


if __name__ == "__main__":
    sys.exit(main())
