"""The arguments of the stt command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from dsm_mlx import captions
from dsm_mlx.archive.listing import ITS_NAME, SOUND, find
from dsm_mlx.captions import CaptionStyle
from dsm_mlx.cli.archive_args import add_cluster, add_recursive, check_archive
from dsm_mlx.cli.arguments import (
    OF_MODEL,
    add_devices,
    add_model,
    add_sampling,
    add_server,
    check_server,
    moment,
    new_parser,
    not_negative,
    option,
    whole,
)
from dsm_mlx.cli.common import shown_name
from dsm_mlx.cli.help import Parser
from dsm_mlx.cli.steering_args import OPTIONS, add_steering
from dsm_mlx.errors import AudioError

EXAMPLES = """\
  %(prog)s talk.mp3 --output-format srt > talk.srt
  %(prog)s archive --output-dir texts --recursive --skip-existing
  %(prog)s call.wav --channels split --speakers Ann,Bob
  %(prog)s --mic
  arecord -t raw -f S16_LE -r 16000 | %(prog)s - --rate 16000
"""


# Shown by --help-all alone.
RARE = (
    "track", "speakers", "rate", "encoding", "device", "list_devices", "revision", "bits", "lora",
    "codebooks", "delay", "temperature", "seed", "api_key", "output_name", "min_duration",
    "language", "word_timestamps", "prompt", "prompt_audio", "boost_file", "scheduler", "workers",
    "send_files", "plot",
)  # fmt: skip
# Those of whisper's commands are followed by True or False.
_SWITCHES = ("--word-timestamps", "--highlight-words")
_CAPTIONS = ("max_line_width", "max_line_count", "min_duration", "highlight_words")
_OF_FILES = ("track", "start", "end", "speakers")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments, with folders replaced by the sound files in them; `live` tells whether sound
    comes through stdin or from the microphone."""
    p = parser()
    args = p.parse_args(_as_ours(sys.argv[1:] if argv is None else argv))
    if not (args.list_devices or args.list_models):
        check_archive(p, args)
        if not args.archive:
            args.files = [file for name in args.files for file in _sound_files(name)]
        args.live = args.mic or args.files == ["-"]
        args.named = len(args.files) > 1  # in what goes to stdout
        _check(p, args)
    return args


def _as_ours(argv: list[str]) -> list[str]:
    """Arguments as whisper's commands take them, such as `--highlight_words True`, as ours."""
    found: list[str] = []
    for at, arg in enumerate(argv):
        if arg == "--":
            return found + argv[at:]
        if arg in ("True", "False") and found and found[-1] in _SWITCHES:
            if arg == "False":
                found.pop()
            continue
        name, equals, value = arg.partition("=")
        found.append(name.replace("_", "-") + equals + value if arg.startswith("--") else arg)
    return found


def parser() -> Parser:
    """Of all that the command takes."""
    p = new_parser(
        "Speech to text on this machine. Words go to stdout, all else to stderr.", EXAMPLES, RARE
    )
    p.usage = "%(prog)s [options] FILE... | FOLDER | --mic | -"
    _add_input(p.add_argument_group("input"))
    _add_hearing(p, p.add_argument_group("hearing"))
    _add_output(p.add_argument_group("output"))
    _add_captions(p.add_argument_group("captions (srt and vtt)"))
    add_cluster(p.add_argument_group("a cluster instead of this process"))
    return p


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="sound files or videos, or folders of them; - reads stdin",
    )
    add_recursive(group)
    group.add_argument("--mic", action="store_true", help="live captions from the microphone")
    group.add_argument(
        "--start", type=moment, metavar="T", help="from there on: seconds, or HH:MM:SS"
    )
    group.add_argument("--end", type=moment, metavar="T", help="up to there; times stay the file's")
    group.add_argument("--track", type=whole(1), metavar="N", help="which sound track of a video")
    group.add_argument(
        "--channels",
        type=_channels,
        metavar="split",
        help="who speaks: hear each by itself; N: of raw samples",
    )
    group.add_argument(
        "--speakers", type=_names, metavar="NAME,NAME", help="names of the channels that are split"
    )
    group.add_argument("--rate", type=whole(1), metavar="HZ", help="of raw samples (24000)")
    group.add_argument(
        "--encoding",
        help="of raw samples (s16le): s16le, s24le, s32le, f32le, f64le, u8, u-law or a-law",
    )
    add_devices(group, "microphone", group)


def _add_hearing(p: argparse.ArgumentParser, group: argparse._ArgumentGroup) -> None:
    add_model(p, "tiny, stt-1b, stt-2.6b", "faster", group)
    group.add_argument(
        "--gain",
        choices=("auto", "off"),
        help="put right what is too soft or loud (auto for --mic)",
    )
    group.add_argument("--delay", type=not_negative, metavar="S", help="for models that take one")
    add_sampling(group, "0, the most likely words")
    group.add_argument(
        "--batch", type=whole(1), metavar="N", help="files at the same time (1; of archives 8)"
    )
    group.add_argument("--language", metavar="XX", help="accepted; models hear those they know")
    add_steering(group)
    add_server(p, group)


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output-format",
        choices=(*captions.FORMATS, "all"),
        default="txt",
        metavar="KIND",
        help="txt, srt, vtt, json or all",
    )
    group.add_argument(
        "--output-dir", type=Path, metavar="DIR", help="write NAME.FORMAT there (live.FORMAT)"
    )
    group.add_argument(
        "--output-name", metavar="NAME", help="another NAME; {name} in it is that of the file"
    )
    group.add_argument(
        "--skip-existing", action="store_true", help="leave out files whose results are there"
    )
    group.add_argument("--timestamps", action="store_true", help="a line a word, with its times")
    group.add_argument("--pauses", action="store_true", help="show where turns end")
    group.add_argument(
        "--confidence", action="store_true", help="mark doubtful words: colours, classes in vtt"
    )
    group.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw the words over the sound of one file"
    )
    group.add_argument(
        "--word-timestamps", action="store_true", help="accepted; words have times in any case"
    )


def _add_captions(group: argparse._ArgumentGroup) -> None:
    style = CaptionStyle()
    group.add_argument(
        "--max-line-width", type=whole(1), metavar="N", help=f"characters ({style.max_chars})"
    )
    group.add_argument(
        "--max-line-count", type=whole(1), metavar="N", help=f"lines a caption ({style.max_lines})"
    )
    group.add_argument(
        "--min-duration", type=not_negative, metavar="S", help=f"seconds ({style.min_duration})"
    )
    group.add_argument("--highlight-words", action="store_true", help="underline what is spoken")


def _channels(text: str) -> str | int:
    """ "split", or how many there are in raw samples."""
    return text if text == "split" else whole(1)(text)


_channels.__name__ = "channels (split, or a number)"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _sound_files(name: str) -> list[str]:
    """The sound files in a folder, by their names' ends; anything else is what it is."""
    if not os.path.isdir(name):
        return [name]
    found = list(find([name]))
    if not found:
        if next(find([name], recursive=True), None):
            raise AudioError(
                f"{shown_name(name)}: a folder without sound files but in the folders in it, which "
                "--recursive hears"
            )
        known = " ".join(sorted(SOUND))
        raise AudioError(f"{shown_name(name)}: a folder without sound files ({known})")
    for recording in found:
        if recording.wrong:
            raise AudioError(recording.wrong)
    return [recording.path for recording in found]


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
    own = "delay", "temperature", "seed", "batch", "gain", "confidence"
    check_server(p, args, *OF_MODEL, *own, *OPTIONS)
    _check_part(p, args)
    args.batch = args.batch or (8 if args.archive else 1)
    args.gain = "auto" if args.gain == "auto" or (args.mic and args.gain is None) else None
    _check_raw(p, args)
    _check_output(p, args)
    _check_captions(p, args)


def _check_part(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Which part of files is heard, and whether by channel: `args.split`."""
    args.split = args.channels == "split"
    if args.split:
        args.channels = None
        if args.server:
            p.error("--channels split needs a model on this machine, and cannot go with --server")
    given = ["channels split"] * args.split + [name for name in _OF_FILES if getattr(args, name)]
    if given and args.live:
        p.error(f"--{given[0]} is for files, which can be read from anywhere")
    if args.speakers and not args.split:
        p.error("--speakers are the names of channels: they need --channels split")
    if args.end is not None and args.end <= (args.start or 0.0):
        p.error("--end is not after --start")


def _check_raw(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make `args.raw` of what tells of samples without a header; None: nothing does."""
    given = {"encoding": args.encoding, "sample_rate": args.rate, "channels": args.channels}
    given = {name: value for name, value in given.items() if value is not None}
    args.raw = None
    if not given:
        return
    if args.files != ["-"]:
        p.error("--rate, --encoding and a number of --channels tell what comes through a pipe: -")
    from dsm_mlx.audio import RawFormat

    try:
        args.raw = RawFormat(**given)
    except ValueError as error:
        p.error(str(error))


def _check_output(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.output_name is not None:
        _check_name(p, args)
    if args.plot is not None:
        _check_plot(p, args)
    if args.output_format == "all" and not args.output_dir:
        p.error("--output-format all needs --output-dir")
    if args.named and args.output_format != "txt" and not args.output_dir:
        p.error(f"several files as {args.output_format} need --output-dir")
    if args.skip_existing and not args.output_dir:
        p.error("--skip-existing looks at what is in --output-dir, which is missing")
    names = [] if args.archive else [result_name(args, file) for file in args.files]
    if args.output_dir and (twice := _twice(names)):
        name = shown_name(twice)
        p.error(f"several files are called {name}: in --output-dir one would replace the other")
    if args.timestamps and args.output_format not in ("txt", "all"):
        p.error("--timestamps is for the txt format; the others have times anyway")
    if args.confidence and args.output_format in ("srt", "json"):
        why = "json has it anyway" if args.output_format == "json" else "srt cannot show it"
        p.error(f"--confidence marks words in txt and vtt; {why}")


def _check_plot(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.plot.suffix.lower() != ".png":
        p.error(f"--plot {shown_name(args.plot)}: a picture is a PNG file (expected NAME.png)")
    if args.live or args.named or args.archive:
        p.error("--plot draws the words of one file")


def _check_name(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Results with a name of their own are files: in the current folder, if in no other."""
    name = args.output_name
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        p.error(f"--output-name {shown_name(name) or repr(name)}: not a name (expected no folders)")
    if (args.named or args.archive) and ITS_NAME not in name:
        p.error(f"--output-name is for one file; for several it needs {ITS_NAME} in it")
    args.output_dir = args.output_dir or Path()


def _check_captions(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make `args.style` of what tells of captions."""
    given = [name for name in _CAPTIONS if getattr(args, name) != p.get_default(name)]
    if given and args.output_format in ("txt", "json"):
        p.error(f"{option(given[0])} is for captions: srt, vtt or all")
    style = {"max_chars": args.max_line_width, "max_lines": args.max_line_count}
    style["min_duration"] = args.min_duration
    args.style = CaptionStyle(**{k: value for k, value in style.items() if value is not None})


def result_name(args: argparse.Namespace, source: str) -> str:
    """What the files of a result are called, without their ending. source: where its sound is from,
    - for a pipe or the microphone."""
    name = "live" if source == "-" else Path(source).stem
    return name if args.output_name is None else args.output_name.replace(ITS_NAME, name)


def _twice(names: Iterable[str]) -> str | None:
    """A name that comes more than once, also where a file system ignores case."""
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            return name
        seen.add(name.casefold())
    return None
