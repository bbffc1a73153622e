"""What all commands share: their name, messages on stderr, one line for an error, exit status."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from dsm_mlx.errors import AudioError, CheckpointError


def program_name() -> str:
    """What was typed to run this program, for its help: `dsm-stt`, `python -m dsm_mlx.stt`, …"""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    path = Path(sys.argv[0])
    return f"python {path}" if path.suffix == ".py" else path.name


def exit_status(run: Callable[[], int]) -> int:
    """Run a command's work; returns its exit status.

    It is 1 after an error that is ours to explain, and 130 when the work was interrupted; what a
    KeyboardInterrupt has to say is told.
    """
    try:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        for noisy in ("httpx", "huggingface_hub"):  # they tell of every retry, we of the outcome
            logging.getLogger(noisy).setLevel(logging.ERROR)
        status = run()
        sys.stdout.flush()  # here, where what goes wrong is explained, and not at exit
        return status
    except BrokenPipeError:
        # Whoever read our output has gone; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CheckpointError, AudioError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return 130


def start(module: str, argv: list[str] | None) -> int:
    """Import the module that does a command's work and call its `run(argv)`, as `exit_status`.

    The module that starts a command imports nothing that takes a while, so that there is an answer
    to Ctrl-C from the first moment.
    """

    def run() -> int:
        with _ending_at_once():
            body = import_module(module)
        return body.run(argv)

    return exit_status(run)


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Ctrl-C ends the process, with one word.

    While modules are imported a KeyboardInterrupt would not do: an extension module makes another
    error of it, and a callback of Python's own import swallows it.
    """

    def end(*_) -> None:
        with suppress(OSError):
            os.write(2, b"interrupted\n")
        os._exit(130)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
