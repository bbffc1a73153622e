"""dsm-convert, stopped at random moments while it replaces a folder, and what is left then.

    python stopping_command.py SEED TRIES SOURCE DEST Q8 Q4     one JSON object a line, of each try

Q8, Q4: folders with what SOURCE becomes by these recipes; DEST is made the one and the other in
turns. Each try is a process of its own, forked from one that has imported all it needs.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from dsm_mlx.cli import conversion, convert

assert conversion  # imported here, once for all tries
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)


def contents(folder: Path) -> dict[str, bytes] | None:
    if not folder.exists():
        return None
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def begin(source: str, dest: Path, recipe: str, said: Path) -> int:
    """The id of a new process that converts; it has begun when this returns."""
    begun, tell = os.pipe()
    pid = os.fork()
    if pid:
        os.close(tell)
        os.read(begun, 1)
        os.close(begun)
        return pid
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        status = convert.main(Telling([source, str(dest), "--overwrite", "--recipe", recipe], tell))
    except BaseException as error:  # what Python itself would tell of
        os.write(2, f"Traceback: {error!r}".encode())
        status = 99
    os._exit(status)


class Telling(list):
    """Arguments that tell when they are first looked at: then the command is under way."""

    def __init__(self, values: list[str], tell: int):
        super().__init__(values)
        self._tell = tell

    def __iter__(self):
        os.write(self._tell, b".")
        return super().__iter__()


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def seconds(source: str, dest: Path, said: Path) -> float:
    """How long an undisturbed conversion takes."""
    times = []
    for recipe in ("q4", "q8", "q4", "q8"):
        start = time.monotonic()
        assert ended(begin(source, dest, recipe, said)) == 0, said.read_text()
        times.append(time.monotonic() - start)
    return sorted(times)[1]


def main(seed: int, tries: int, source: str, dest: Path, made: dict[str, dict]) -> None:
    chance, said = random.Random(seed), dest.parent / "said"
    takes, before = seconds(source, dest, said), "q8"
    for _ in range(tries):
        wanted = "q4" if before == "q8" else "q8"
        number, moment = chance.choice(_SIGNALS), chance.uniform(0, 1.3 * takes)
        left = {path.name for path in dest.parent.glob(".*")}
        pid = begin(source, dest, wanted, said)
        time.sleep(moment)
        os.kill(pid, number)  # it may have ended, but is there until somebody waits for it
        status = ended(pid)
        found = contents(dest)
        after = next((name for name, expected in made.items() if expected == found), None)
        result = {
            "signal": signal.Signals(number).name,
            "status": status,
            "told": said.read_text().replace(str(dest), "DEST").strip(),
            "state": {wanted: "new", before: "old"}.get(after, f"odd: {found and sorted(found)}"),
            "hidden": len({path.name for path in dest.parent.glob(".*")} - left),
        }
        print(json.dumps(result), flush=True)
        before = after


if __name__ == "__main__":
    seed, tries, source, dest, q8, q4 = sys.argv[1:]
    made = {"q8": contents(Path(q8)), "q4": contents(Path(q4))}
    main(int(seed), int(tries), source, Path(dest), made)
