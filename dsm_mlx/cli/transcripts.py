"""Where a transcript goes, and as what: files or stdout, as the options say."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from dsm_mlx import captions
from dsm_mlx.cli.common import put, shown_name
from dsm_mlx.cli.printer import Printer, plain_text
from dsm_mlx.cli.transcribe_args import result_name
from dsm_mlx.files.text import save
from dsm_mlx.messages import say
from dsm_mlx.results import Transcript


def deliver(args: argparse.Namespace, source: str, transcript: Transcript) -> Exception | None:
    """Write one result where the options say; returns why it could not be written to a file.

    source: where its sound is from, - for a pipe or the microphone.
    """
    if args.output_dir:
        try:
            _save(args, source, transcript)
        except OSError as error:
            return error
        return None
    transcript = _as_wanted(args, transcript)
    if args.output_format == "txt":
        name = f"{shown_name(source)}: " if args.named else ""
        put("".join(f"{name}{line}\n" for line in _lines(args, transcript)))
    elif args.output_format == "json":
        put(_encodable_json(transcript))
    else:
        put(captions.render(transcript, args.output_format, **_options(args)))
    return None


def part_of(args: argparse.Namespace) -> dict[str, Any]:
    """What of the files is heard."""
    return {"track": args.track or 1, "start": args.start or 0.0, "end": args.end}


def _save(args: argparse.Namespace, source: str, transcript: Transcript) -> None:
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for path in paths(args, source):
        save(path, rendered(args, transcript, path.suffix[1:]))
        say(shown_name(path))


def rendered(args: argparse.Namespace, transcript: Transcript, kind: str) -> str:
    """What is written into a file of a format."""
    transcript = _as_wanted(args, transcript)
    if kind == "txt":
        return "".join(f"{line}\n" for line in _lines(args, transcript))
    return captions.render(transcript, kind, **_options(args))


def formats(args: argparse.Namespace) -> tuple[str, ...]:
    """In which a result is written."""
    return captions.FORMATS if args.output_format == "all" else (args.output_format,)


def _options(args: argparse.Namespace) -> dict:
    return {
        "highlight_words": args.highlight_words,
        "confidence": args.confidence,
        "style": args.style,
    }


def _encodable_json(transcript: Transcript) -> str:
    """JSON with escapes of its own where stdout cannot show a sign."""
    text = captions.to_json(transcript)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(json.loads(text), indent=2) + "\n"
    return text


def _lines(args: argparse.Namespace, transcript: Transcript) -> list[str]:
    return plain_text(transcript, printer(args))


def printer(args: argparse.Namespace, terminal: bool = False) -> Printer:
    """What makes text of words. terminal: whether the word in progress is shown."""
    return Printer(args.timestamps, args.pauses, terminal, colours=_colours(args))


def _colours(args: argparse.Namespace) -> bool:
    """Whether doubtful words are coloured: on a terminal, unless it or somebody wants none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return args.confidence and not args.output_dir and not plain and sys.stdout.isatty()


def _as_wanted(args: argparse.Namespace, transcript: Transcript) -> Transcript:
    """Pauses and turns are given only on demand: there is one pause a frame."""
    if args.pauses:
        return transcript
    return Transcript(transcript.text, transcript.words, duration=transcript.duration)


def paths(args: argparse.Namespace, source: str) -> list[Path]:
    """The files of one result."""
    return [args.output_dir / f"{result_name(args, source)}.{kind}" for kind in formats(args)]
