"""What all commands share: their name, messages on stderr, one line for an error, exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
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
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("httpx", "huggingface_hub"):  # they tell of every retry, we of the outcome
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
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
