"""What the tts command does: text, or what comes through a pipe -> loudspeaker, file or pipe.

The voices are shown by `cli.voices`.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

import numpy as np

import dsm_mlx
from dsm_mlx import AudioError
from dsm_mlx.audio import SoundWriter, Speaker, to_s16le
from dsm_mlx.cli import common, remote, voices
from dsm_mlx.cli.common import put, shown_name
from dsm_mlx.cli.models import listing
from dsm_mlx.cli.speak_args import stream_options
from dsm_mlx.cli.wording import tell_of_numbers, told_normalize
from dsm_mlx.files.text import load, save
from dsm_mlx.loading.voices import Voices
from dsm_mlx.messages import say, shown
from dsm_mlx.results import Word
from dsm_mlx.tts.model import TextToSpeech
from dsm_mlx.tts.stream import SpeechStream
from dsm_mlx.tts.text.lexicon import read_lexicon

_READ_BYTES = 4096
_MOST_WARNINGS = 20


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.speak.main`; errors are the caller's to tell of."""
    if show := listing(args):
        return show()
    _read(args)
    if args.list_voices:
        return voices.show(args)
    return speak(args)


def _read(args: argparse.Namespace) -> None:
    """The files with text and names, and what `--normalize` and `--lexicon` mean for `stream`."""
    if args.lexicon is not None:
        args.lexicon = read_lexicon(args.lexicon)
    if args.text_file:
        args.text = [load(args.text_file)]
    if args.normalize == "off":
        args.normalize = None
    else:
        text = "" if args.live else " ".join(args.text)  # what comes live is looked at then
        args.normalize = told_normalize(args.normalize, text)


def speak(args: argparse.Namespace) -> int:
    """Say it all. Interrupted, it writes no file; but a text that comes through a pipe may never
    end, and then Ctrl-C is its end."""
    model = _check_world(args)
    with ExitStack() as stack:
        # Before the weights: a missing loudspeaker should not take a minute to be told.
        speaker = None
        if args.play or not args.out:
            speaker = stack.enter_context(_speaker(args))
        tts = stack.enter_context(_model(model, args))
        stream = stack.enter_context(tts.stream(args.voice, **stream_options(args)))
        source = _Text(stream, args)
        spoken = _Spoken(tts.sample_rate)
        with ExitStack() as sinks:
            spoken.sinks = _sinks(tts.sample_rate, args, speaker, sinks)
            try:
                _pump(stream, spoken, _bar(args, sinks))
            except KeyboardInterrupt:
                if not (source.live and spoken.samples):
                    raise KeyboardInterrupt(_interrupted(args)) from None
                if speaker:
                    speaker.stop()
            if not spoken.samples:
                raise source.error or ValueError(f"{source.name}: nothing of it can be said")
    if stream.left_out:
        say(f"left out: {', '.join(map(shown_name, stream.left_out))}")
    _tell(args, spoken)
    if source.error:
        raise source.error
    return int(stream.cut_short)


def _speaker(args: argparse.Namespace) -> Speaker:
    try:
        return Speaker(args.device)
    except AudioError as error:
        instead = "" if args.out else "; --out FILE writes to a file instead"
        raise AudioError(f"{error}{instead}") from None


def _model(model: str | None, args: argparse.Namespace) -> TextToSpeech:
    """On this machine, or what a server has of one."""
    if args.server:
        return remote.module("remote_tts").RemoteTextToSpeech(args.server)
    return dsm_mlx.load_tts(model, **common.loading(args))


def _check_world(args: argparse.Namespace) -> str | None:
    """What would be missing is told before anything is loaded; returns the model's name, if one of
    this machine's is to speak."""
    if len(args.text) == 1 and not args.text_file and os.path.isfile(args.text[0]):
        file = shown_name(args.text[0])
        say(f"{file} is said as it stands here; --text-file {file} says what is in that file")
    if args.live and common.stdin().isatty():
        say("type what to say; Ctrl-D ends")
    if args.out == "-":
        common.check_stdout("--out FILE writes to a file")
    for path in (args.out, args.words):
        if path not in (None, "-"):
            common.check_target(path)
    if args.server:
        return None
    model, checkpoint = common.found_model(args.model, "tts", args.revision)
    if args.voice:
        Voices.of(checkpoint).find(args.voice)
    return model


def _interrupted(args: argparse.Namespace) -> str:
    files = [shown_name(path) for path in (args.out, args.words) if path not in (None, "-")]
    return "interrupted" + (f"; not written: {', '.join(files)}" if files else "")


class _Spoken:
    """What has been said: its words and how much sound, and where the sound goes."""

    def __init__(self, sample_rate: int):
        self.words: list[Word] = []
        self.samples, self._rate = 0, sample_rate
        self.sinks: list[Callable[[np.ndarray], object]] = []

    @property
    def seconds(self) -> float:
        return self.samples / self._rate


def _sinks(
    sample_rate: int, args: argparse.Namespace, speaker: Speaker | None, stack: ExitStack
) -> list[Callable[[np.ndarray], object]]:
    """Where the sound goes."""
    sinks: list[Callable[[np.ndarray], object]] = []
    if args.out == "-":
        sinks.append(lambda audio: put(to_s16le(audio)))
    elif args.out:
        sinks.append(stack.enter_context(SoundWriter(args.out, sample_rate)).write)
    if speaker:
        sinks.append(speaker.write)
    return sinks


def _pump(stream: SpeechStream, spoken: _Spoken, bar) -> None:
    for chunk in stream:
        spoken.words += chunk.words
        for sink in spoken.sinks:
            sink(chunk.audio)
        spoken.samples += chunk.audio.size
        bar.update(len(chunk.words))


def _bar(args: argparse.Namespace, stack: ExitStack):
    """Words said so far, while a file is written and someone looks on."""
    from tqdm import tqdm

    to_file = args.out not in (None, "-")
    return stack.enter_context(
        tqdm(
            total=None if args.live else len(" ".join(args.text).split()),
            unit=" words",
            desc="speaking",
            leave=False,
            disable=not (to_file and sys.stderr.isatty()),
            file=sys.stderr,
        )
    )


def _tell(args: argparse.Namespace, spoken: _Spoken) -> None:
    """Write the words, and say what was written."""
    if args.out not in (None, "-"):
        say(f"wrote {shown_name(args.out)} ({spoken.seconds:.2f} s)")
    if args.words:
        entries = [{"text": w.text, "start": w.start, "end": w.end} for w in spoken.words]
        save(args.words, json.dumps(entries, ensure_ascii=False, indent=1) + "\n")
        say(f"wrote {shown_name(args.words)}")


class _Text:
    """Feeds a stream with the text that was given, or with stdin as it comes, in a thread.

    A tag that the model does not understand is left out with a warning, and the rest is said.
    error: what ended the reading.
    """

    def __init__(self, stream: SpeechStream, args: argparse.Namespace):
        text = " ".join(args.text)
        self.live = args.live
        self.name = "stdin" if self.live else shown(text)
        if args.text_file:
            self.name = shown_name(args.text_file)
        self.error: OSError | None = None
        self._stream = stream
        self._warned: set[str] = set()
        self._names_numbers = args.normalize is not None
        if self.live:
            # A daemon: nothing can end a read from a pipe that stays open.
            threading.Thread(target=self._read, daemon=True).start()
        else:
            self._take(stream.feed, text)
            self._take(stream.end)

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            # Not through the buffer, whose lock Python would want back at exit.
            while data := os.read(sys.stdin.fileno(), _READ_BYTES):
                self._take(self._stream.feed, self._looked_at(decoder.decode(data)))
            self._take(self._stream.feed, self._looked_at(decoder.decode(b"", final=True)))
        except OSError as error:
            self.error = OSError(error.errno, error.strerror, "stdin")
        except RuntimeError:  # the process is ending
            return
        self._take(self._stream.end)

    def _looked_at(self, text: str) -> str:
        """The text; what is told once of all, when the first piece comes that it is about."""
        if "\ufffd" in text:
            self._warn("stdin is no text in UTF-8 (iconv converts it); what it is not is left out")
        if self._names_numbers and tell_of_numbers(text):
            self._names_numbers = False
        return text

    def _take(self, give: Callable, *text: str) -> None:
        try:
            give(*text)
        except ValueError as error:  # and the rest of the text has been taken
            self._warn(f"{error}; the rest is said")

    def _warn(self, what: str) -> None:
        if what not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add(what)
            say(f"warning: {what}")
