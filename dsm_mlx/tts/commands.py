"""What the tts command does: speak through a loudspeaker, into a file or a pipe."""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from dsm_mlx import captions, owner
from dsm_mlx.audio import Speaker, WavWriter, to_s16le
from dsm_mlx.checkpoint import Checkpoint
from dsm_mlx.errors import AudioError
from dsm_mlx.results import Word
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.stream import SpeechStream
from dsm_mlx.tts.voices import Voices

_READ_BYTES = 4096


def list_voices(args: argparse.Namespace) -> int:
    """One name on each line."""
    for name in Voices.of(Checkpoint.find(args.model, "tts", args.revision)).names():
        print(name)
    return 0


def speak(args: argparse.Namespace) -> int:
    """Say it all; Ctrl-C ends it, and what was said so far is kept."""
    checkpoint = Checkpoint.find(args.model, "tts", args.revision)
    words: list[Word] = []
    with ExitStack() as stack:
        # Before the weights: a missing loudspeaker or folder should not take a minute to be told.
        speaker = None
        if args.play or not args.out:
            speaker = stack.enter_context(Speaker(args.device))
        for path in (args.out, args.words):
            _check_folder(path)
        tts = _load(checkpoint, args)
        stream = stack.enter_context(_open(tts, args))
        feeder = _Feeder(stream) if args.text == ["-"] else None
        if feeder is None:
            stream.feed(" ".join(args.text))
            stream.end()
        try:
            _pump(stream, _sinks(tts, args, speaker, stack), words, _bar(args, stack))
        except KeyboardInterrupt:
            stream.cancel()
            if speaker:
                speaker.stop()
        if args.words:
            _write_words(args.words, words)
        if feeder and feeder.error:
            raise feeder.error
    return 0


def _load(checkpoint: Checkpoint, args: argparse.Namespace) -> TextToSpeech:
    return owner.run(TextToSpeech, checkpoint, bits=args.bits, codebooks=args.codebooks)


def _open(tts: TextToSpeech, args: argparse.Namespace) -> SpeechStream:
    cfg = args.cfg
    if cfg is None and 2.0 in tts.cfg_values:
        cfg = 2.0
    return tts.stream(args.voice, temperature=args.temperature, cfg=cfg, seed=args.seed)


def _sinks(
    tts: TextToSpeech, args: argparse.Namespace, speaker: Speaker | None, stack: ExitStack
) -> list[Callable[[np.ndarray], object]]:
    """Where the sound goes."""
    sinks: list[Callable[[np.ndarray], object]] = []
    if args.out == "-":
        sinks.append(_to_stdout)
    elif args.out:
        sinks.append(stack.enter_context(WavWriter(args.out, tts.sample_rate)).write)
    if speaker:
        sinks.append(speaker.write)
    return sinks


def _to_stdout(audio: np.ndarray) -> None:
    sys.stdout.buffer.write(to_s16le(audio))
    sys.stdout.buffer.flush()


def _pump(stream: SpeechStream, sinks: list, words: list[Word], bar) -> None:
    for chunk in stream:
        words += chunk.words
        for sink in sinks:
            sink(chunk.audio)
        bar.update(len(chunk.words))


def _bar(args: argparse.Namespace, stack: ExitStack):
    """Words said so far, while a file is written and someone looks on."""
    from tqdm import tqdm

    to_file = args.out not in (None, "-")
    return stack.enter_context(
        tqdm(
            total=None if args.text == ["-"] else len(" ".join(args.text).split()),
            unit=" words",
            desc="speaking",
            leave=False,
            disable=not (to_file and sys.stderr.isatty()),
            file=sys.stderr,
        )
    )


class _Feeder:
    """Feeds a stream with what comes through stdin, as it comes, in a thread of its own."""

    def __init__(self, stream: SpeechStream):
        self.error: Exception | None = None
        self._stream = stream
        # A daemon: nothing can end a read from a pipe that stays open.
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            # Not through the buffer, whose lock Python would want back at exit.
            while data := os.read(sys.stdin.fileno(), _READ_BYTES):
                self._stream.feed(decoder.decode(data))
            self._stream.feed(decoder.decode(b"", final=True))
            self._stream.end()
        except (ValueError, OSError) as error:
            self.error = error
            self._stream.cancel()


def _check_folder(path: str | Path | None) -> None:
    if path not in (None, "-") and not Path(path).parent.is_dir():
        raise AudioError(f"{path}: there is no folder {Path(path).parent}")


def _write_words(path: Path, words: list[Word]) -> None:
    entries = [{"text": w.text, "start": w.start, "end": w.end} for w in words]
    captions.save(path, json.dumps(entries, ensure_ascii=False, indent=1) + "\n")
