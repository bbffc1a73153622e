"""What both commands share: messages on stderr, one line for an error, the exit status."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable

from dsm_mlx.errors import AudioError, CheckpointError


def exit_status(run: Callable[[], int]) -> int:
    """Run a command's work; returns its exit status, 1 after an error that is ours to explain."""
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
    except KeyboardInterrupt:
        return 0
