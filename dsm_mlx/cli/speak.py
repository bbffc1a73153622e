"""The tts command: text, or what comes through a pipe -> loudspeaker, file or pipe."""

from __future__ import annotations

import argparse
import codecs
import json
import math
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from dsm_mlx import captions
from dsm_mlx.audio import Speaker, WavWriter, to_s16le
from dsm_mlx.cli.common import exit_status, program_name
from dsm_mlx.errors import AudioError
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.voices import Voices
from dsm_mlx.results import Word
from dsm_mlx.runtime import worker
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.stream import SpeechStream

_READ_BYTES = 4096


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog=program_name(),
        description="Text to speech on this machine. Without --out it plays the sound.",
        epilog='Text may hold <break time="500ms"/> or <break time="0.5s"/>.',
    )
    p.add_argument("text", nargs="*", help="what to say; - reads stdin and speaks as it comes")
    p.add_argument("--model", help="folder, hub id, or tiny, tts-1.6b, tts-0.75b")
    p.add_argument("--revision", help="of the hub repository")
    p.add_argument("--bits", type=int, choices=(4, 8), help="quantise while loading")
    p.add_argument("--codebooks", type=int, metavar="N", help="fewer are faster and sound poorer")
    p.add_argument("--voice", help="name (--list-voices), path, or hf://owner/repository/path")
    p.add_argument("--list-voices", action="store_true", help="show the model's voices and exit")
    p.add_argument("--out", metavar="FILE", help="write a WAV file; - for raw 16-bit 24 kHz mono")
    p.add_argument("--play", action="store_true", help="play it too, with --out")
    p.add_argument("--device", metavar="N", help="loudspeaker: its number, or part of its name")
    p.add_argument("--seed", type=int, help="for a result that can be repeated")
    p.add_argument("--temperature", type=float, help="0 to 1 or so (default: the model's own)")
    p.add_argument(
        "--cfg",
        type=float,
        help="strength of guidance (default: the model's own, or 2 where it was taught it)",
    )
    p.add_argument("--words", metavar="FILE.json", type=Path, help="write words with their times")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage)."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    return exit_status(lambda: (list_voices if args.list_voices else speak)(args))


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.seed is not None and args.seed < 0:
        p.error("--seed must be 0 or more")
    temperature = args.temperature
    if temperature is not None and not (math.isfinite(temperature) and temperature >= 0):
        p.error("--temperature must be 0 or more")
    if args.list_voices:
        return
    if not args.text:
        p.error("give a text, or - for stdin")
    if "-" in args.text and len(args.text) > 1:
        p.error("- cannot be combined with a text")
    if args.out == "-" and sys.stdout.isatty():
        p.error("--out - writes raw sound, which a terminal cannot show; send it to a program")
    if args.out not in (None, "-") and not args.out.lower().endswith(".wav"):
        p.error("--out writes WAV: give a name that ends in .wav, or -")


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
    return worker.run(TextToSpeech, checkpoint, bits=args.bits, codebooks=args.codebooks)


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
