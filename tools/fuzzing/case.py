"""One case: its input is made, tried, and what became of it is told."""

from __future__ import annotations

import json
import linecache
import logging
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmark.jobs import peak_resident

import dsm_mlx

KINDS = ("checkpoints", "sounds", "texts", "arguments", "commands")
FINE, REFUSED = "fine", "refused"
GOOD = (FINE, REFUSED)
FOREIGN, LEFT, MEMORY = "other error", "left behind", "memory"
HANG, CRASH = "hang", "crash"
OUTCOMES = (*GOOD, FOREIGN, LEFT, MEMORY, HANG, CRASH)

_MEMORY = 200  # MB
_PACKAGE = str(Path(dsm_mlx.__file__).parent)
_OURS = (dsm_mlx.CheckpointError, dsm_mlx.AudioError, dsm_mlx.BusyError)


@dataclass(frozen=True)
class Outcome:
    """What became of a case. said: the error, or what else is wrong."""

    kind: str
    number: int
    outcome: str
    said: str = ""
    seconds: float = 0.0


class Left(Exception):
    """Something is on the disk that should not be."""


def attempt(kind: str, number: int, corpus: Path, folder: Path, seed: int = 0) -> Outcome:
    """Make case `number` of `kind` in the empty `folder`, and try it.

    The current folder is one within it: names that are made up at random stay there, too.
    """
    from fuzzing import arguments, checkpoints, commands, sounds, texts

    makers = {
        "checkpoints": checkpoints.attempt,
        "sounds": sounds.attempt,
        "texts": texts.attempt,
        "arguments": arguments.attempt,
        "commands": commands.attempt,
    }
    rng = random.Random(f"{seed} {kind} {number}")
    with _inside(folder / "current"):
        _forget_peak()
        before, start = _peak(), time.monotonic()
        outcome, said = _tried(lambda: makers[kind](rng, corpus, folder))
    hidden = sorted(path.name for path in folder.rglob(".*"))
    if outcome in GOOD and hidden:
        outcome, said = LEFT, f"there are {hidden}"
    grown = _peak() - before
    if outcome in GOOD and grown > _MEMORY:
        outcome, said = MEMORY, f"{grown:.0f} MB more"
    return Outcome(kind, number, outcome, said, time.monotonic() - start)


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """With a new folder as the current one."""
    before = os.getcwd()
    folder.mkdir()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _tried(attempt) -> tuple[str, str]:
    try:
        attempt()
    except Left as error:
        return LEFT, str(error)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        # the name that an error of the system has beside its words is whole, as Python's are
        words = error.strerror if isinstance(error, OSError) and error.filename else str(error)
        if _is_ours(error) and _is_clear(words):
            return REFUSED, said
        return FOREIGN, said + "\n" + "".join(traceback.format_exception(error)[-6:])
    return FINE, ""


def _is_ours(error: Exception) -> bool:
    """Raised by a line of ours that raises, not by something that was called with nonsense.

    An error of the system must name its file.
    """
    if isinstance(error, _OURS):
        return True
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not isinstance(error, (ValueError, TypeError)) and not getattr(error, "filename", None):
        return False
    if "unexpected keyword argument" in str(error):  # of what takes any, and hands it on
        return isinstance(error, TypeError)
    if not last.filename.startswith(_PACKAGE):  # the call itself does not fit the signature
        return isinstance(error, TypeError) and "fuzzing" in last.filename
    return linecache.getline(last.filename, last.lineno or 0).strip().startswith("raise")


def _is_clear(message: str) -> bool:
    return bool(message) and len(message) < 1000 and message.isprintable()


def _forget_peak() -> None:
    """Linux: let the peak be what is in use now, so that each case is measured by itself."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Of the process' memory, in MB."""
    return peak_resident() / (1 << 20)


def serve(corpus: Path) -> int:
    """Take cases from stdin, one a line: kind, number, seed. Answer each with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    with open(os.devnull, "w") as nothing:  # what a case prints is no answer
        os.dup2(nothing.fileno(), 1)
    os.environ["DSM_MLX_NO_DOWNLOAD"] = "1"
    logging.getLogger("dsm_mlx").addHandler(logging.NullHandler())
    logging.getLogger("dsm_mlx").propagate = False
    for line in sys.stdin:
        kind, number, seed = line.split()
        # within the corpus, so that nothing stays of a process that is killed
        folder = Path(tempfile.mkdtemp(prefix="case-", dir=corpus))
        try:
            found = attempt(kind, int(number), corpus, folder, int(seed))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(json.dumps(asdict(found)), file=answers, flush=True)
    return 0
