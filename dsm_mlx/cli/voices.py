"""What the tts command does with --list-voices: their names, and how they sound."""

from __future__ import annotations

import argparse

import dsm_mlx
from dsm_mlx.audio import Speaker
from dsm_mlx.cli import common
from dsm_mlx.cli.common import put, say_error, shown_name
from dsm_mlx.cli.speak_args import stream_options
from dsm_mlx.errors import AudioError, CheckpointError
from dsm_mlx.loading.voices import Voices

_SENTENCE = "Good morning, my friend."  # of words that `tiny` knows


def show(args: argparse.Namespace) -> int:
    """One name on each line; to be played, each before it is heard. 1 if a voice could not be."""
    common.check_stdout("open it to see the voices")
    model, checkpoint = common.found_model(args.model, "tts", args.revision)
    names = Voices.of(checkpoint).names()
    if args.play:
        return _play(model, names, args)
    put("".join(f"{shown_name(name)}\n" for name in names))
    return 0


def _play(model: str | None, names: list[str], args: argparse.Namespace) -> int:
    text, options = " ".join(args.text) or _SENTENCE, stream_options(args)
    failed = False
    with Speaker(args.device) as speaker, dsm_mlx.load_tts(model, **common.loading(args)) as tts:
        for name in names:
            put(f"{shown_name(name)}\n")
            try:
                stream = tts.stream(name, **options)
            except (AudioError, CheckpointError) as error:  # one of them is damaged, or far away
                say_error(error)
                failed = True
                continue
            with stream:
                stream.feed(text)
                stream.end()
                for chunk in stream:
                    speaker.write(chunk.audio)
            speaker.drain()
    return int(failed)
