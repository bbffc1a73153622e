"""Tests that live in real time run by themselves: no other one of the suite is under way then."""

import fcntl
import os
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def turn(run: str, alone: bool):
    """Of one test among those of all processes of the test run `run`."""
    with ExitStack() as stack:
        gate, room = (stack.enter_context(_opened(run, name)) for name in ("gate", "room"))
        # Who waits for the room holds the gate, so that nobody overtakes for ever.
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextmanager
def _opened(run: str, name: str):
    path = Path(tempfile.gettempdir(), f"dsm_mlx-tests-{run}.{name}")
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        yield number
    finally:
        os.close(number)


def forget(run: str) -> None:
    """What `turn` leaves behind, when all processes have ended."""
    for name in ("gate", "room"):
        Path(tempfile.gettempdir(), f"dsm_mlx-tests-{run}.{name}").unlink(missing_ok=True)
