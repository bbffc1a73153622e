"""What could not be heard, and why: a file with a line for each."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from dsm_mlx.files.text import save

NAME = "failures.jsonl"
_PAUSE = 1.0  # seconds between two writes, but for the last one


class Failures:
    """The failures of an output folder, as earlier runs left them and this one finds them.

    The file has a JSON object a line, with the path of a recording and the reason; where there is
    no failure there is no file. It is replaced as a whole, so that it is complete whenever this
    stops. Files that are gone are forgotten.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._path = Path(folder) / NAME
        self._reasons = self._read()
        self._saved, self._changed = time.monotonic(), True

    def add(self, path: str, reason: str) -> None:
        self._reasons[os.path.abspath(path)] = reason
        self._change()

    def forget(self, path: str) -> None:
        """It has its results."""
        if self._reasons.pop(os.path.abspath(path), None) is not None:
            self._change()

    def save(self) -> None:
        """OSError where that cannot be."""
        if not self._changed:
            return
        self._saved, self._changed = time.monotonic(), False
        if self._reasons:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save(self._path, "".join(map(_line, self._reasons.items())))
        else:
            self._path.unlink(missing_ok=True)

    def _change(self) -> None:
        self._changed = True
        if time.monotonic() - self._saved >= _PAUSE:
            self.save()

    def _read(self) -> dict[str, str]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, UnicodeError):
            return {}
        found = [failure for line in lines if (failure := _failure(line))]
        return {path: reason for path, reason in found if os.path.exists(path)}


def _failure(line: str) -> tuple[str, str] | None:
    try:
        data = json.loads(line)
        return str(data["path"]), str(data["reason"])
    except (ValueError, TypeError, KeyError):  # not ours
        return None


def _line(failure: tuple[str, str]) -> str:
    path, reason = failure
    data = {"path": path, "reason": reason}
    text = json.dumps(data, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a name that is no text
        text = json.dumps(data)
    return text + "\n"
