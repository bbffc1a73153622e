"""What the chat command does: microphone -> words -> a reply -> loudspeaker."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import dsm_mlx
from dsm_mlx.audio import Microphone, Speaker
from dsm_mlx.audio.devices import find_device
from dsm_mlx.chat.conversation import Conversation
from dsm_mlx.chat.events import DeviceLost, Event, Failed, Said
from dsm_mlx.chat.replies.echo import EchoReply
from dsm_mlx.cli import common
from dsm_mlx.cli.chat_args import LANGUAGES
from dsm_mlx.cli.common import put, say_error
from dsm_mlx.cli.dialogue import ASSISTANT, Live, Turn, Turns, latency_line, line_of
from dsm_mlx.cli.models import listing
from dsm_mlx.cli.replies import local_reply, server_reply, system_of
from dsm_mlx.cli.wording import told_normalize
from dsm_mlx.errors import AudioError
from dsm_mlx.llm.loading import find
from dsm_mlx.loading.voices import Voices
from dsm_mlx.messages import say

_SORRY = {"en": "Sorry, I cannot answer now.", "fr": "Pardon, je ne peux pas répondre."}
_HINT = "talk; Ctrl-C ends"
_HALF_DUPLEX = "talk, each at a time (with --headphones you can interrupt); Ctrl-C ends"


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.chat.main`; errors are the caller's to tell of."""
    if show := listing(args):
        return show()
    with ExitStack() as stack:
        return _talk(args, stack)


def _talk(args: argparse.Namespace, stack: ExitStack) -> int:
    # Before the weights: what is missing should not take a minute to be told.
    models = _check_world(args)
    system = _system(args)
    reply = _reply_of_others(args)
    speech = {"normalize": told_normalize(args.language or "auto")}
    how = {"bits": args.bits}
    stt = stack.enter_context(dsm_mlx.load_stt(models["stt"], lora=args.stt_lora, **how))
    tts = stack.enter_context(dsm_mlx.load_tts(models["tts"], lora=args.tts_lora, **how))
    _tell_language(stt.languages, args)
    reply = reply or stack.enter_context(local_reply(args))
    microphone = stack.enter_context(Microphone(args.mic_device, stt.sample_rate))
    speaker = stack.enter_context(Speaker(args.speaker_device, tts.sample_rate))
    stack.callback(speaker.stop)  # what is left is nobody's answer any more
    conversation = Conversation(
        stt,
        tts,
        reply,
        source=microphone,
        sink=speaker,
        system=system,
        voice=args.voice,
        full_duplex=args.headphones,
        sorry=_SORRY[args.language or "en"],
        speech=speech,
        hearing={"gain": "auto"},
    )
    return _follow(conversation, Show(args, sys.stdout.isatty()), args)


def _follow(conversation: Conversation, show: Show, args: argparse.Namespace) -> int:
    """Show what happens until Ctrl-C, which is the end of a talk that has begun."""
    try:
        with conversation, show:
            if not args.quiet:
                say(_HINT if args.headphones else _HALF_DUPLEX)
            for event in conversation:
                show(event)
    except KeyboardInterrupt:
        pass
    except AudioError as error:
        if str(error) != show.lost:  # which has been told
            raise
        return 1
    return int(show.failed or bool(show.lost))


# ---- before


def _check_world(args: argparse.Namespace) -> dict[str, str | None]:
    """Find what is needed; the names of the models to load."""
    common.check_stdout("open it to see what is said")
    find_device(args.mic_device, "input")
    find_device(args.speaker_device, "output")
    if args.transcript is not None:
        _check_transcript(args.transcript)
    models, checkpoints = {}, {}
    for kind in ("stt", "tts"):
        models[kind], checkpoints[kind] = common.found_model(getattr(args, kind), kind, None)
    if args.voice:
        Voices.of(checkpoints["tts"]).find(args.voice)
    if args.llm is not None:
        find(args.llm)
    return models


def _check_transcript(path: Path) -> None:
    """OSError where nothing can be added to it."""
    if path.exists():
        path.open("ab").close()
    else:
        common.check_target(path)


def _system(args: argparse.Namespace) -> str | None:
    """What tells the model how to answer."""
    if args.echo:
        return None
    text = system_of(args)
    if args.language:
        text = f"{text} Answer in {LANGUAGES[args.language]}.".strip()
    return text


def _tell_language(heard: Any, args: argparse.Namespace) -> None:
    if args.language and heard and args.language not in heard:
        say(f"--language {args.language}: what listens knows {', '.join(heard)}")


def _reply_of_others(args: argparse.Namespace) -> Any:
    """What answers, where no model is to be loaded for that."""
    if args.echo:
        return EchoReply()
    return None if args.llm_url is None else server_reply(args)[0]


# ---- while it goes on


class Show:
    """Shows a conversation: on a terminal as it happens, else each turn when it is settled. Adds
    turns to the transcript. In a `with` block, in which log messages get lines of their own.

    lost: what was told of a device that is gone. failed: whether the transcript lacks something.
    """

    def __init__(self, args: argparse.Namespace, terminal: bool):
        self._quiet, self._transcript = args.quiet, args.transcript
        self._live = Live() if terminal else None
        self._turns, self._log = Turns(), _Log(self._tell)
        self._lock = threading.RLock()  # log messages come from any thread
        self.lost, self.failed = "", False

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._show(event)

    def _show(self, event: Event) -> None:
        if self._live and (text := self._live.show(event)):
            put(text)
        self._settle(self._turns.take(event))
        if isinstance(event, Said) and event.latency and not self._quiet:
            self._tell(latency_line(event.latency))
        elif isinstance(event, Failed):
            self._tell(f"error: {event.message}")
        elif isinstance(event, DeviceLost):
            self.lost = event.message
            self._tell(f"error: {event.message}")

    def _settle(self, turns: list[Turn]) -> None:
        for turn in turns:
            if not self._live:
                put(f"{line_of(turn)}\n")
            if self._transcript is not None and not self.failed:
                self._add(turn)

    def _add(self, turn: Turn) -> None:
        """To the transcript. A full disk is told once, and ends no talk."""
        as_lines = self._transcript.suffix in (".jsonl", ".json")
        line = _json_line(turn) if as_lines else line_of(turn)
        try:
            _append(self._transcript, f"{line}\n")
        except OSError as error:
            self.failed = True
            self._end_line()
            say_error(OSError(error.errno, error.strerror, str(self._transcript)))

    def _tell(self, message: str) -> None:
        with self._lock:
            self._end_line()
            say(message)

    def _end_line(self) -> None:
        if self._live:
            put(self._live.end())

    def __enter__(self) -> Show:
        self._log.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._log.end()
        self._end_line()
        self._settle(self._turns.end())


class _Log(logging.Handler):
    """In the place of those that write log messages into the middle of a line."""

    def __init__(self, tell: Callable[[str], None]):
        super().__init__()
        self._tell, self._before = tell, list(logging.getLogger().handlers)

    def begin(self) -> None:
        logging.getLogger().handlers = [self]

    def end(self) -> None:
        logging.getLogger().handlers = self._before

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())


def _json_line(turn: Turn) -> str:
    role = "assistant" if turn.who == ASSISTANT else "user"
    entry: dict[str, Any] = {"role": role, "text": turn.text.strip(), "time": round(turn.time, 2)}
    if turn.whole is not None:
        entry |= {"interrupted": True, "written": turn.whole}
    if turn.latency:
        entry["latency"] = {name: round(value, 3) for name, value in asdict(turn.latency).items()}
    return json.dumps(entry, ensure_ascii=False)


def _append(path: Path, text: str) -> None:
    """A whole line, in one go, so that nobody sees half of it."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode("utf-8", "backslashreplace"))
