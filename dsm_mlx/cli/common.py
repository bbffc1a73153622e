"""What all commands share: their name, standard streams, one line for an error, exit status."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from dsm_mlx.cli.interruptions import STATUS, Interruptions
from dsm_mlx.errors import AudioError, BusyError, CheckpointError, ReplyError
from dsm_mlx.files.descriptors import fill_standard
from dsm_mlx.messages import cut, named, say

OURS = (CheckpointError, AudioError, BusyError, ReplyError, ValueError, OSError)
"""Errors that say what is wrong; any other is a fault of the program's."""


def program_name() -> str:
    """What was typed to run this program, for its help: `dsm-stt`, `python -m dsm_mlx.stt`, …"""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    path = Path(sys.argv[0])
    return f"python {path}" if path.suffix == ".py" else path.name


# ---- running


def start(module: str, argv: list[str] | None, arguments: str | None = None) -> int:
    """Run a command: import the module that does its work and call its `run`; the exit status.

    argv: the arguments; None: those of the process, which ends with this command. arguments: the
    module whose `parse` makes of them what `run` takes, before the other is imported; without,
    `run` takes them as they are. What starts a command imports nothing that takes a while, so that
    there is an answer to Ctrl-C from the first moment.
    """

    def run() -> int:
        args = import_module(arguments).parse(argv) if arguments else argv
        body = import_module(module)
        with interruptions.gently():
            return body.run(args)

    with Interruptions(at_exit=argv is None) as interruptions:
        return _status(run, interruptions)


def exit_status(run: Callable[[], int]) -> int:
    """Run a command's work, whose modules are imported; returns its exit status.

    It is 1 after an error that is ours to explain, and 130 when the work was interrupted, by
    Ctrl-C or a signal that asks to end; what a KeyboardInterrupt has to say is told.
    """

    def gently() -> int:
        with interruptions.gently():
            return run()

    with Interruptions() as interruptions:
        return _status(gently, interruptions)


def _status(run: Callable[[], int], interruptions: Interruptions) -> int:
    try:
        _prepare()
        status = run()
        if sys.stdout:
            sys.stdout.flush()  # here, where what goes wrong is explained, and not at exit
        return status
    except BrokenPipeError:
        return 1  # whoever read our output has gone
    except KeyboardInterrupt as interrupt:
        say(str(interrupt) or "interrupted")
        return STATUS
    except OURS as error:
        say_error(error)
        return 1
    except Exception:
        if not interruptions.arrived:
            raise
        say("interrupted")  # and an extension module that was being imported made an error of it
        return STATUS
    finally:
        for stream in (sys.stdout, sys.stderr):
            _settle(stream)


_STRICT = ("strict", "surrogateescape")


def _prepare() -> None:
    fill_standard()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _STRICT:
            stream.reconfigure(errors="backslashreplace")  # escape what cannot be shown
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("dsm_mlx").setLevel(logging.INFO)


def _settle(stream: TextIO | None) -> None:
    """Let go of what cannot be written: Python would try again at exit, and complain."""
    if stream is None:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


# ---- standard streams


def say_error(error: Exception) -> None:
    """An error in one line on stderr, with the name of the file that it is about."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        if error.filename is not None:
            text = f"{named(os.fsdecode(error.filename))}: {text}"
    say(f"error: {text}")


def put(result: str | bytes) -> None:
    """Write a result, or a part of one, to stdout at once.

    Raises OSError that names stdout, and BrokenPipeError where nobody reads it any more.
    """
    stream: Any = sys.stdout if isinstance(result, str) else sys.stdout.buffer
    try:
        stream.write(result)
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "stdout") from None


def check_stdout(instead: str) -> None:
    """OSError where results go to stdout and there is none; instead: where they could go."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, f"it is closed ({instead})", "stdout")


def stdin() -> BinaryIO:
    """The bytes of stdin; OSError where there is none."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "it is closed, so nothing can be read from it", "stdin")
    return sys.stdin.buffer


# ---- files, models and devices


def shown_name(path: str | os.PathLike) -> str:
    """A file's name, whole, on one line: what cannot be shown is escaped."""
    return cut(os.fsdecode(path), 1 << 16)


def check_target(path: str | os.PathLike) -> None:
    """OSError, naming the path, where no file can be written there; to be told before the work."""
    path = Path(path)
    if os.path.isdir(path):
        raise OSError(errno.EISDIR, "it is a folder (expected the name of a file)", str(path))
    if not os.path.isdir(path.parent):
        raise OSError(errno.ENOENT, f"there is no folder {named(path.parent)}", str(path))
    with suppress(FileNotFoundError):
        os.stat(path)  # the system does not take every name
    special = path.exists() and not path.is_file()  # it is written to; others are replaced
    if not os.access(path if special else path.parent, os.W_OK):
        raise OSError(errno.EACCES, "no permission to write there", str(path))


def check_folder(path: str | os.PathLike) -> None:
    """OSError where `path` is no folder to write in and cannot be made one, with those above it."""
    there = next(p for p in (Path(path), *Path(path).parents) if os.path.exists(p))
    if not os.path.isdir(there):
        raise OSError(errno.ENOTDIR, "it is no folder", str(there))
    if not os.access(there, os.W_OK):
        raise OSError(errno.EACCES, "no permission to write there", str(there))


def found_model(model: str | None, kind: str, revision: str | None) -> tuple[str | None, Any]:
    """A model's name to be loaded by, and its `Checkpoint`, before anything big is read.

    What is chosen where none is given is told once: it is loaded by its name then.
    """
    from dsm_mlx.loading.checkpoint import Checkpoint

    checkpoint = Checkpoint.find(model, kind, revision)
    return (model if checkpoint.files.bundled else checkpoint.name), checkpoint


def loading(args: Any) -> dict[str, Any]:
    """How a model is to be loaded, for `load_stt` and `load_tts`."""
    names = "bits", "revision", "codebooks", "lora"
    return {name: getattr(args, name) for name in names}


def list_devices() -> int:
    """One line for each sound device: number, channels, rate, name."""
    from dsm_mlx import audio

    check_stdout("open it to see the devices")
    devices = audio.list_devices()
    for d in devices:
        marks = "".join([" <- default input"] * d.default_input)
        marks += "".join([" <- default output"] * d.default_output)
        rate = f"{d.sample_rate:g} Hz"
        put(f"{d.index:3}  in {d.inputs}  out {d.outputs}  {rate}  {shown_name(d.name)}{marks}\n")
    if not devices:
        say("this machine has no sound devices")
    return 0
