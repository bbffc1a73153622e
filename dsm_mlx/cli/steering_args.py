"""The arguments of the stt command that tell a model what to expect. Imports nothing that takes a
while."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from dsm_mlx.files.text import load
from dsm_mlx.options import Prompt

OPTIONS = ("prompt", "prompt_audio", "boost", "boost_file")


def add_steering(group: argparse._ArgumentGroup) -> None:
    """What comes before the sound, and phrases to prefer."""
    group.add_argument(
        "--prompt", metavar="TEXT", help="what --prompt-audio says; alone: how the sound begins"
    )
    group.add_argument("--prompt-audio", metavar="FILE", help="sound to hear first, not to write")
    group.add_argument(
        "--boost",
        action="append",
        type=_phrase,
        metavar="PHRASE[=N]",
        help="prefer a name or phrase, by 0 to 20; may be given often",
    )
    group.add_argument(
        "--boost-file", type=Path, metavar="FILE", help="the same, one a line; # begins a comment"
    )


def steering(args: argparse.Namespace) -> dict[str, Any]:
    """The options of `SpeechToText.stream` that the arguments ask for. Before a model is loaded.

    Raises:
        OSError, UnicodeError, AudioError: a file that cannot be read. ValueError: a prompt of none.
    """
    prompt, boost = None, dict(args.boost or [])
    if args.prompt is not None or args.prompt_audio is not None:
        prompt = Prompt(args.prompt, args.prompt_audio)
    if args.prompt_audio is not None:
        from dsm_mlx.audio import AudioFile

        AudioFile(args.prompt_audio).close()  # which tells what is wrong
    if args.boost_file is not None:
        lines = load(args.boost_file).splitlines()
        given = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
        boost = dict(map(_phrase, given)) | boost
    return {"prompt": prompt, "boost": boost or None}


def _phrase(text: str) -> tuple[str, float | None]:
    """PHRASE or PHRASE=STRENGTH; what follows the last = and is no number belongs to the phrase."""
    phrase, equals, tail = text.rpartition("=")
    try:
        strength = float(tail) if equals else math.nan
    except ValueError:
        strength = math.nan
    return (text.strip(), None) if math.isnan(strength) else (phrase.strip(), strength)
