"""What `--plot` does: the picture of a result."""

from __future__ import annotations

import argparse

import numpy as np

from dsm_mlx.audio import Part, Sound
from dsm_mlx.cli.common import shown_name
from dsm_mlx.cli.transcripts import part_of
from dsm_mlx.errors import AudioError
from dsm_mlx.files.text import save
from dsm_mlx.messages import say
from dsm_mlx.results import Transcript
from dsm_mlx.showing.plot import MOST_SECONDS, picture

_RATE = 8000  # Hz: a picture shows no more


def plot(args: argparse.Namespace, source: str, transcript: Transcript) -> Exception | None:
    """Draw a result into the file that the options name; returns why that could not be done."""
    part = part_of(args)
    last = part["start"] + MOST_SECONDS
    if part["end"] is None or part["end"] > last:
        part["end"] = last
    try:
        with Sound(source, target=_RATE, part=Part(**part)) as sound:
            pcm = np.concatenate(list(sound))
        save(args.plot, picture(transcript, pcm, _RATE, part["start"]))
    except (AudioError, OSError, ValueError) as error:
        return error
    say(shown_name(args.plot))
    if transcript.duration > last:
        say(f"--plot: drawn up to {last:g} s; --start and --end draw another part")
    return None
