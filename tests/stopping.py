"""A process that is stopped at an instant while it replaces a folder, and what is left then.

    python stopping.py HOW SIGNAL FOLDER EVERY TRIES SEED      one JSON object a line, of each try

HOW: "exchange" or "renames" replaces a folder, "new" makes one and those above it. Instants are the
lines that Python runs in `dsm_mlx/convert` (EVERY is "line"), or all its opcodes, the library's
among them ("opcode"); of them TRIES are chosen by SEED, and there those of the replacement itself.
Each try is a process of its own, forked.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

from dsm_mlx.convert import folder as subject

_ROOM = str(Path(subject.__file__).parent)
_FILES = ("config.json", "weights/a", "weights/b")
_DECISIVE = "put_in_place"


def write(folder: Path, text: str) -> None:
    for file in _FILES:
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        (folder / file).write_text(text)


def state(folder: Path) -> str:
    """ "old", "new", "none", or what is odd about it."""
    if not folder.exists():
        return "none"
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    texts = {path.read_text() for path in found.values()}
    whole = set(found) == set(_FILES) and len(texts) == 1
    return texts.pop() if whole else f"{sorted(found)} {sorted(texts)}"


def hidden(folder: Path) -> int:
    return len(list(folder.glob(".*")))


class Instants:
    """Counts instants, and sends a signal to this process at one of them.

    decisive: the instants in which the folder is replaced.
    """

    def __init__(self, opcodes: bool, at: int | None = None, number: int = 0):
        self.count, self.decisive = 0, []
        self._opcodes, self._at, self._number = opcodes, at, number

    def __call__(self, frame, event, _):
        ours = frame.f_code.co_filename.startswith(_ROOM)
        if not (ours or self._opcodes) or frame.f_code.co_filename == __file__:
            return None
        frame.f_trace_opcodes = self._opcodes
        if event == ("opcode" if self._opcodes else "line"):
            self.count += 1
            if frame.f_code.co_name == _DECISIVE:
                self.decisive.append(self.count)
            if self.count == self._at:
                os.kill(os.getpid(), self._number)
        return self


def replace(path: Path) -> str:
    """Do it; what its user is told."""
    try:
        subject.write_folder(path, lambda folder: write(folder, "new"), lambda _: None)
        return "done"
    except KeyboardInterrupt as interrupt:
        return str(interrupt) or "interrupted"


def child(path: Path, said: Path, instants: Instants) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    told = "interrupted"
    try:
        sys.settrace(instants)
        told = replace(path)
    finally:
        sys.settrace(None)
        said.write_text(told)


def recover(path: Path) -> None:
    """What the next run does first: here one that may not replace anything."""

    def refuse(_):
        raise FileExistsError("there is something")

    def fail(_):
        raise ValueError("nothing to convert")

    with suppress(FileExistsError, ValueError):
        subject.write_folder(path, fail, refuse)


def place(how: str, home: Path) -> Path:
    """An empty home, and in it where the folder shall be."""
    home.mkdir()
    if how == "new":
        return home / "above/it/dest"
    write(home / "dest", "old")
    return home / "dest"


def one(how: str, home: Path, instants: Instants) -> dict:
    path, said = place(how, home), home.parent / "said"
    said.unlink(missing_ok=True)
    pid = os.fork()
    if not pid:
        try:
            child(path, said, instants)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    found = {
        "killed": os.WIFSIGNALED(status),
        "told": said.read_text().replace(str(path), "DEST") if said.exists() else None,
        "state": state(path),
        "hidden": hidden(path.parent),
        "parents": how == "new" and (home / "above").exists(),
    }
    recover(path)
    return found | {"recovered": state(path), "hidden after": hidden(path.parent)}


def main() -> None:
    how, number, folder, every, tries, seed = sys.argv[1:]
    if how == "renames":
        subject.exchange = lambda one, other: False
    os.fsync = lambda file: None  # a process that is killed loses nothing of what it has written
    opcodes = every == "opcode"
    whole = Instants(opcodes)
    path = place(how, Path(folder) / "counted")
    sys.settrace(whole)
    replace(path)
    sys.settrace(None)
    choice = random.Random(int(seed)).sample(
        range(1, whole.count + 1), min(int(tries), whole.count)
    )
    for at in sorted({*choice, *whole.decisive}):
        found = one(how, Path(folder) / f"home{at}", Instants(opcodes, at, int(number)))
        print(json.dumps({"at": at} | found))


if __name__ == "__main__":
    main()
