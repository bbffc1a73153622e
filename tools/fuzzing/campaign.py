"""Many cases in processes that may hang and die, and a table of what became of them."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fuzzing import case
from fuzzing.case import Outcome

_FUZZ = Path(__file__).parents[1] / "fuzz.py"
_COMMAND = [sys.executable, "-X", "faulthandler", str(_FUZZ), "--serve"]  # and the corpus
SECONDS = 5.0  # for which a case may last
STARTING = 60.0  # of which a process' first one may take more


class Process:
    """A process that tries cases until one of them ends it.

    patience: seconds for which the next one may last.
    """

    def __init__(self, corpus: Path):
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(corpus / "hub")}
        self._process = subprocess.Popen(
            [*_COMMAND, str(corpus)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        self.patience = STARTING
        self._errors = bytearray()
        threading.Thread(target=self._keep_errors, daemon=True).start()

    def attempt(self, kind: str, number: int, seed: int = 0) -> Outcome:
        """What became of a case; after a hang or a crash the process is gone."""
        process = self._process
        process.stdin.write(f"{kind} {number} {seed}\n".encode())
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self.patience)
        if not ready:
            self.end()
            return Outcome(kind, number, case.HANG, f"over {self.patience:g} s")
        line = process.stdout.readline()
        if not line:
            status = process.wait()
            said = self._errors[-2000:].decode(errors="replace")
            return Outcome(kind, number, case.CRASH, f"status {status}\n{said}")
        self.patience = SECONDS
        return Outcome(**json.loads(line))

    @property
    def gone(self) -> bool:
        return self._process.poll() is not None

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def _keep_errors(self) -> None:
        for line in self._process.stderr:
            self._errors += line
            del self._errors[:-10_000]


def play(kinds: tuple[str, ...], count: int, jobs: int, seed: int = 0) -> list[Outcome]:
    """Try `count` cases of a seed, of each kind as many, in order of their numbers."""
    waiting: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    for i in range(count):
        waiting.put((kinds[i % len(kinds)], i // len(kinds)))
    outcomes: list[Outcome] = []
    with _corpus() as corpus:

        def work() -> None:
            process = Process(corpus)
            try:
                while True:
                    found = process.attempt(*waiting.get_nowait(), seed)
                    outcomes.append(found)
                    _tell(found)
                    if process.gone:
                        process = Process(corpus)
            except queue.Empty:
                process.end()

        threads = [threading.Thread(target=work) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcomes


def one(kind: str, number: int, keep: str | None, seed: int = 0) -> Outcome:
    """Try one case here, and let its files be."""
    with _corpus() as corpus, tempfile.TemporaryDirectory() as folder:
        place = Path(keep or folder).resolve()
        place.mkdir(parents=True, exist_ok=not keep)
        return case.attempt(kind, number, corpus, place, seed)


def table(outcomes: list[Outcome]) -> str:
    """How many cases of each kind ended how."""
    counts = Counter((found.kind, found.outcome) for found in outcomes)
    shown = [o for o in case.OUTCOMES if o in case.GOOD or any(counts[k, o] for k in case.KINDS)]
    lines = [f"{'':12}" + "".join(f"{outcome:>12}" for outcome in shown) + f"{'slowest':>12}"]
    for kind in case.KINDS:
        of_kind = [found for found in outcomes if found.kind == kind]
        if of_kind:
            slowest = max(found.seconds for found in of_kind)
            cells = "".join(f"{counts[kind, outcome]:>12}" for outcome in shown)
            lines.append(f"{kind:12}{cells}{slowest:>10.2f} s")
    faults = sum(found.outcome not in case.GOOD for found in outcomes)
    return "\n".join([*lines, f"{len(outcomes)} cases, {faults} faults"])


def _tell(found: Outcome) -> None:
    if found.outcome not in case.GOOD:
        print(f"{found.kind} {found.number}: {found.outcome}: {found.said}", file=sys.stderr)


@contextmanager
def _corpus() -> Iterator[Path]:
    from fuzzing import corpus

    with tempfile.TemporaryDirectory() as folder:
        corpus.make(Path(folder))
        yield Path(folder)
