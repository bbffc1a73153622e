"""What the stt command does: files with a progress bar, a pipe or the microphone -> words."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

import dsm_mlx
from dsm_mlx.audio import AudioFile, Microphone, Part, Sound, read_stream
from dsm_mlx.audio.devices import find_device
from dsm_mlx.cli import common, remote
from dsm_mlx.cli.archiving import transcribe_archive
from dsm_mlx.cli.common import put, say_error, shown_name
from dsm_mlx.cli.level import metered
from dsm_mlx.cli.models import listing
from dsm_mlx.cli.plotting import plot
from dsm_mlx.cli.steering_args import steering
from dsm_mlx.cli.transcripts import deliver, part_of, paths, printer
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import say
from dsm_mlx.results import Event, Transcript, Word
from dsm_mlx.showing.plot import check_matplotlib
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.stt.recordings import Progress, as_transcript

_MOST_NAMED = 3
_LANGUAGES = {"english": "en", "french": "fr"}  # as whisper may be told them


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.transcribe.main`; errors are the caller's to tell of."""
    if show := listing(args):
        return show()
    args.steering = steering(args)
    # Before the weights: what is missing should not take a minute to be told.
    refused = _check_world(args)
    if not (args.live or args.files):
        return int(refused)
    if args.archive:
        return transcribe_archive(partial(_model, args), args, _options(args))
    stt = _model(args)
    status = (transcribe_live if args.live else transcribe_files)(stt, args)
    return status or int(refused)


def _model(args: argparse.Namespace) -> SpeechToText:
    """On this machine, or what a server has of one."""
    if args.server:
        stt = remote.module("remote_stt").RemoteSpeechToText(args.server)
    else:
        stt = dsm_mlx.load_stt(args.model, **common.loading(args))
    _tell_whisper(stt, args)
    return stt


def _tell_whisper(stt: SpeechToText, args: argparse.Namespace) -> None:
    """A word about what is accepted for those who know it from whisper."""
    if args.word_timestamps:
        say("--word-timestamps: words always have times (--timestamps shows them, json has them)")
    if args.language is None:
        return
    told = f"--language {shown_name(args.language)}: no language is chosen; this model hears "
    if not stt.languages:
        say(f"{told}what it was taught")
        return
    wanted = args.language.lower()
    known = _LANGUAGES.get(wanted, wanted) in stt.languages
    say(f"{told}{', '.join(stt.languages)}" + ("" if known else ", and will not understand it"))


def _check_world(args: argparse.Namespace) -> bool:
    """Tell of files that cannot be heard or written, and leave them out; whether there are any."""
    if args.output_dir is None:
        common.check_stdout("--output-dir DIR writes to files")
    else:
        common.check_folder(args.output_dir)
    if args.plot:
        check_matplotlib()
        common.check_target(args.plot)
    if args.mic:
        find_device(args.device, "input")
    elif args.live:
        common.stdin()
    if args.live or args.archive:
        return False
    if args.skip_existing:
        _skip_existing(args)
    wrong = {file: error for file in args.files if (error := _wrong_with(file, args))}
    for error in wrong.values():
        say_error(error)
    args.files = [file for file in args.files if file not in wrong]
    return bool(wrong)


def _skip_existing(args: argparse.Namespace) -> None:
    """Leave out files all of whose results are there, and tell of it."""
    done = [file for file in args.files if all(map(os.path.isfile, paths(args, file)))]
    args.files = [file for file in args.files if file not in done]
    if done:
        names = [shown_name(file) for file in done]
        say(f"skipped, as {'it is' if len(done) == 1 else 'they are'} done: {_listed(names)}")


def _wrong_with(file: str, args: argparse.Namespace) -> Exception | None:
    """Why a file will not even be opened, or its result cannot be written."""
    try:
        if not (os.path.isfile(file) and os.access(file, os.R_OK) and os.path.getsize(file)):
            AudioFile(file).close()  # which tells what is wrong
        if args.output_dir and args.output_dir.is_dir():
            for path in paths(args, file):
                common.check_target(path)
    except (AudioError, OSError) as error:
        return error
    return None


def transcribe_files(stt: SpeechToText, args: argparse.Namespace) -> int:
    """Every file in turn, `--batch` of them at a time; 1 if any was not done.

    Interrupted, it writes no half result into a file, and to stdout what was heard, telling so.
    """
    found: list[list[Event]] = [[] for _ in args.files]
    seconds = [args.start or 0.0] * len(args.files)
    waiting = set(range(len(args.files)))
    failed = False
    try:
        for heard in _with_progress(stt, args):
            index = heard.index
            found[index] += heard.events
            seconds[index] += heard.seconds
            if not heard.last:
                continue
            error = heard.error
            if error is None:
                transcript = as_transcript(found[index], seconds[index])
                error = deliver(args, args.files[index], transcript)
                if args.plot and not error:
                    error = plot(args, args.files[index], transcript)
            waiting.discard(index)
            if error:
                say_error(error)
                failed = True
    except KeyboardInterrupt:
        parts = {i: as_transcript(found[i], seconds[i]) for i in sorted(waiting)}
        raise KeyboardInterrupt(_put_parts(args, parts)) from None
    return int(failed)


def _put_parts(args: argparse.Namespace, parts: dict[int, Transcript]) -> str:
    """Show what was heard of files when an interruption came; what there is to say about it."""
    names = {index: shown_name(args.files[index]) for index in parts}
    if args.output_dir:
        return f"interrupted; not written: {_listed(list(names.values()))}"
    told = []
    for index, part in parts.items():
        if part.words:
            deliver(args, args.files[index], part)
            up_to = "up to" if args.start else "the first"
            told.append(f"only {up_to} {part.duration:.2f} s of {names.pop(index)}")
    if names:
        told.append(f"nothing of {_listed(list(names.values()))}")
    return f"interrupted; heard {', '.join(told)}"


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _with_progress(stt: SpeechToText, args: argparse.Namespace) -> Iterator[Progress]:
    from tqdm import tqdm

    parts = stt.transcribe_events(args.files, batch=args.batch, **_options(args))
    _tell_delay(stt, args)
    shown = sys.stderr.isatty()
    bar = tqdm(
        # to know it, every file is opened, and some decoded: not for a bar that nobody sees
        total=_total_seconds(args) if shown else None,
        unit="s",
        desc="listening",
        bar_format="{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s, {remaining} left",
        leave=False,
        disable=not shown,
        file=sys.stderr,
    )
    with bar, closing(parts):
        for heard in parts:
            bar.update(heard.seconds)
            yield heard


def _tell_delay(stt: SpeechToText, args: argparse.Namespace) -> None:
    """Say so where the model does not know the delay that was asked for; it has been checked."""
    known = stt.delays
    if args.delay is None or not known or args.delay in known:
        return
    nearest = min(known, key=lambda delay: abs(delay - args.delay))
    values = ", ".join(f"{delay:g}" for delay in known)
    say(f"--delay {args.delay:g}: {nearest:g} s is used (this model knows {values})")


def _hearing(args: argparse.Namespace) -> dict[str, Any]:
    """How sound is heard, whatever it comes from: of `stream` and of `transcribe_events`."""
    return {
        "delay": args.delay,
        "temperature": args.temperature or 0.0,
        "seed": args.seed,
        "gain": args.gain,
        **args.steering,
    }


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """How files are heard: of `transcribe_events`."""
    return {
        **_hearing(args),
        "channels": "split" if args.split else "mix",
        "speakers": args.speakers,
        **part_of(args),
    }


def _total_seconds(args: argparse.Namespace) -> float | None:
    """The length of all files together, as far as it is known before reading them."""
    part = Part(**part_of(args))
    return sum(_seconds(file, part) for file in args.files) or None


def _seconds(file: str, part: Part) -> float:
    try:
        with Sound(file, part=part) as sound:
            return sound.duration or 0.0
    except AudioError:
        return 0.0  # told when its turn comes


def transcribe_live(stt: SpeechToText, args: argparse.Namespace) -> int:
    """Words as they come from stdin or the microphone; Ctrl-C ends with what was heard so far."""
    text = None
    if args.output_format == "txt" and not args.output_dir:
        text = printer(args, terminal=sys.stdout.isatty())
    events: list[Event] = []
    total = 0
    lost: Exception | None = None

    def take(new: list[Event]) -> None:
        if text:  # shown, and forgotten: this may go on for days
            put(text.show(new, stream.partial_word))
        else:
            events.extend(new if args.pauses else [e for e in new if isinstance(e, Word)])

    with stt.stream(**_hearing(args)) as stream:
        _tell_delay(stt, args)
        try:
            with closing(_live_blocks(stt, args)) as blocks:
                for block in blocks:
                    total += block.size
                    take(stream.feed(block))
        except KeyboardInterrupt:
            pass
        # A lost microphone or server takes nothing of what was heard with it.
        except (AudioError, remote.ServerError) as error:
            if not total:
                raise
            lost = error
        try:
            take(stream.flush())
        except remote.ServerError as error:
            lost = error
            take(stream.flush())  # what came before that
        stream.close()
    failed = None
    if text:
        put(text.end())
    else:
        failed = deliver(args, "-", as_transcript(events, total / stt.sample_rate))
    if failed := failed or lost:
        raise failed
    return 0


def _live_blocks(stt: SpeechToText, args: argparse.Namespace) -> Generator[np.ndarray, None, None]:
    if not args.mic:
        source = common.stdin()
        if args.server:  # not through the buffer, whose lock Python would want back at exit
            blocks = read_stream(getattr(source, "raw", source), stt.sample_rate, raw=args.raw)
            yield from remote.module("remote_stt").ticking(blocks)
        else:
            yield from read_stream(source, stt.sample_rate, raw=args.raw)
        return
    with Microphone(args.device, stt.sample_rate) as microphone:
        say("listening; Ctrl-C ends")
        words_are_seen = sys.stdout.isatty() and not args.output_dir
        shown = sys.stderr.isatty() and not words_are_seen  # they would be in one line
        yield from metered(microphone) if shown else microphone
