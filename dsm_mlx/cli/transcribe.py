"""The stt command: files with a progress bar, a pipe or the microphone -> words with times."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TextIO

import numpy as np

import dsm_mlx
from dsm_mlx import captions
from dsm_mlx.audio import AudioFile, Microphone, read_stream
from dsm_mlx.audio import list_devices as sound_devices
from dsm_mlx.cli.common import exit_status, program_name
from dsm_mlx.errors import AudioError
from dsm_mlx.results import EndOfTurn, Event, Transcript, Word
from dsm_mlx.stt.model import Progress, SpeechToText, as_transcript


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog=program_name(),
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
    p.add_argument("--output-format", choices=(*captions.FORMATS, "all"), default="txt")
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
    return exit_status(lambda: _run(args))


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
        return list_devices()
    stt = dsm_mlx.load_stt(args.model, bits=args.bits, revision=args.revision)
    if args.mic or args.files == ["-"]:
        return transcribe_live(stt, args)
    return transcribe_files(stt, args)


def list_devices() -> int:
    """One line for each sound device: number, channels, rate, name."""
    for d in sound_devices():
        marks = "".join([" <- default input"] * d.default_input)
        marks += "".join([" <- default output"] * d.default_output)
        print(f"{d.index:3}  in {d.inputs}  out {d.outputs}  {d.sample_rate:g} Hz  {d.name}{marks}")
    return 0


def transcribe_files(stt: SpeechToText, args: argparse.Namespace) -> int:
    """Every file in turn, `--batch` of them at a time; 1 if any could not be read."""
    found: list[list[Event]] = [[] for _ in args.files]
    seconds = [0.0] * len(args.files)
    open_files = set(range(len(args.files)))
    failed = False
    try:
        for heard in _with_progress(stt, args):
            found[heard.index] += heard.events
            seconds[heard.index] += heard.seconds
            if heard.error:
                print(f"error: {heard.error}", file=sys.stderr)
                failed = True
                open_files.discard(heard.index)
            elif heard.last:
                _put(args, heard.index, as_transcript(found[heard.index], seconds[heard.index]))
                open_files.discard(heard.index)
    except KeyboardInterrupt:
        for index in sorted(open_files):
            if found[index]:
                _put(args, index, as_transcript(found[index], seconds[index]))
    return 1 if failed else 0


def _with_progress(stt: SpeechToText, args: argparse.Namespace) -> Iterator[Progress]:
    from tqdm import tqdm

    shown = sys.stderr.isatty()
    bar = tqdm(
        # to know it, every file is opened, and some decoded: not for a bar that nobody sees
        total=_total_seconds(args.files) if shown else None,
        unit="s",
        desc="listening",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        leave=False,
        disable=not shown,
        file=sys.stderr,
    )
    with (
        bar,
        closing(stt.transcribe_events(args.files, delay=args.delay, batch=args.batch)) as chunks,
    ):
        for heard in chunks:
            bar.update(heard.seconds)
            yield heard


def _total_seconds(files: list[str]) -> float | None:
    """The length of all files together, as far as it is known before reading them."""
    return sum(map(_seconds, files)) or None


def _seconds(file: str) -> float:
    try:
        with AudioFile(file) as audio:
            return audio.duration or 0.0
    except AudioError:
        return 0.0  # told when its turn comes


def _put(args: argparse.Namespace, index: int, transcript: Transcript) -> None:
    """Write one file's result where the options say."""
    transcript = _as_wanted(args, transcript)
    if args.output_dir:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        name = "live" if args.files in ([], ["-"]) else Path(args.files[index]).stem
        for path in _paths(args.output_dir / name, args.output_format):
            if path.suffix == ".txt":
                captions.save(path, "".join(f"{line}\n" for line in _lines(args, transcript)))
            else:
                captions.write(transcript, path)
            print(path, file=sys.stderr)
        return
    if args.output_format != "txt":
        print(captions.render(transcript, args.output_format), end="", flush=True)
        return
    name = f"{args.files[index]}: " if len(args.files) > 1 else ""
    for line in _lines(args, transcript):
        print(name + line)
    sys.stdout.flush()


def _lines(args: argparse.Namespace, transcript: Transcript) -> list[str]:
    """A transcript as plain text: one line, or as `--timestamps` and `--pauses` want it."""
    printer = Printer(args, io.StringIO())
    # A word that begins as a turn ends belongs to the next one.
    turns, words = transcript.turns, transcript.words
    events = [(turn.time, 0, turn) for turn in turns] + [(word.start, 1, word) for word in words]
    printer.show([event for *_, event in sorted(events, key=lambda entry: entry[:2])], "")
    printer.end()
    text = printer.out.getvalue()
    return text.removesuffix("\n").split("\n") if text or not args.timestamps else []


def _as_wanted(args: argparse.Namespace, transcript: Transcript) -> Transcript:
    """Pauses and turns are given only on demand: there is one pause a frame."""
    if args.pauses:
        return transcript
    return Transcript(transcript.text, transcript.words, duration=transcript.duration)


def _paths(stem: Path, output_format: str) -> list[Path]:
    formats = captions.FORMATS if output_format == "all" else (output_format,)
    return [stem.with_name(f"{stem.name}.{kind}") for kind in formats]


def timed(word: Word) -> str:
    return f"[{word.start:8.2f} -{word.end:8.2f}] {word.text}"


def transcribe_live(stt: SpeechToText, args: argparse.Namespace) -> int:
    """Words as they come from stdin or the microphone; Ctrl-C ends with what was heard so far."""
    printer = Printer(args) if args.output_format == "txt" and not args.output_dir else None
    events: list[Event] = []
    total = 0
    lost: AudioError | None = None

    def take(new: list[Event]) -> None:
        if printer:  # shown, and forgotten: this may go on for days
            printer.show(new, stream.partial_word)
        else:
            events.extend(new if args.pauses else [e for e in new if isinstance(e, Word)])

    with stt.stream(args.delay) as stream:
        try:
            with closing(_live_blocks(stt, args)) as blocks:
                for block in blocks:
                    total += block.size
                    take(stream.feed(block))
        except KeyboardInterrupt:
            pass
        except AudioError as error:  # a lost microphone takes nothing of what it heard with it
            if not total:
                raise
            lost = error
        take(stream.flush())
        stream.close()
    if printer:
        printer.end()
    else:
        _put(args, 0, as_transcript(events, total / stt.sample_rate))
    if lost:
        raise lost
    return 0


def _live_blocks(stt: SpeechToText, args: argparse.Namespace) -> Iterator[np.ndarray]:
    if not args.mic:
        yield from read_stream(sys.stdin.buffer, stt.sample_rate)
        return
    with Microphone(args.device, stt.sample_rate) as microphone:
        print("listening; Ctrl-C ends", file=sys.stderr)
        yield from microphone


class Printer:
    """Words as they come: a growing line, with the word in progress dimmed on a terminal."""

    def __init__(self, args: argparse.Namespace, out: TextIO | None = None):
        """out: where to write; by default to stdout."""
        self.out = sys.stdout if out is None else out
        self._terminal = self.out.isatty()
        self._timestamps, self._pauses = args.timestamps, args.pauses
        self._line = False  # whether the current line has words
        self._partial = ""

    def show(self, events: list[Event], partial: str) -> None:
        if self._partial and self._terminal:
            self.out.write(f"\x1b[{len(self._partial)}D\x1b[K")
        for event in events:
            if isinstance(event, Word):
                self._word(event)
            elif isinstance(event, EndOfTurn):
                self._turn(event)
        self._partial = f" {partial}" if partial else ""
        if self._partial and self._terminal:
            self.out.write(f"\x1b[2m{self._partial}\x1b[0m")
        self.out.flush()

    def _word(self, word: Word) -> None:
        if self._timestamps:
            self.out.write(timed(word) + "\n")
        else:
            self.out.write((" " if self._line else "") + word.text)
            self._line = True

    def _turn(self, turn: EndOfTurn) -> None:
        if self._pauses:
            self._break_line()
            self.out.write(f"-- end of turn at {turn.time:.2f} s\n")
        elif self._line:
            self._break_line()

    def _break_line(self) -> None:
        if self._line:
            self.out.write("\n")
            self._line = False

    def end(self) -> None:
        self._break_line()
        self.out.flush()
