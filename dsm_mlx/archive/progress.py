"""How far a job is: what has been heard, and about how much is left."""

from __future__ import annotations

import os
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from dsm_mlx.archive.listing import Recording, find


@dataclass(frozen=True)
class Progress:
    """done, failed, skipped: files of this run; those that were skipped had their results. heard:
    seconds of sound. left: about how many are left, from the sizes of the files; None: not known
    yet."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    heard: float = 0.0
    left: float | None = None


class Tally:
    """Counts files, seconds and bytes. The sizes of all files are added up in a thread, because a
    length cannot be known without opening a file, and its size can."""

    def __init__(self, sources: Sequence[str], recursive: bool):
        self.done = self.failed = self.skipped = 0
        self.heard = 0.0
        # Seconds heard of files that have not ended.
        self._running: dict[str, float] = defaultdict(float)
        self._passed: Counter[str] = Counter()  # bytes, by ending
        self._known: dict[str, tuple[float, int]] = {}  # seconds and bytes of what was heard
        self._total: Counter[str] | None = None
        self._stopped = False
        add_up = partial(self._add_up, sources, recursive)
        self._adding = threading.Thread(target=add_up, daemon=True)
        self._adding.start()

    def hear(self, recording: Recording, seconds: float) -> None:
        """So many seconds more of it were heard."""
        self.heard += seconds
        self._running[recording.path] += seconds

    def end(self, recording: Recording, whole: bool) -> None:
        """No more of it will be heard. whole: it was heard to its end, and tells how long a file of
        its size is."""
        seconds = self._running.pop(recording.path, 0.0)
        kind, size = _kind(recording), _size(recording)
        self._passed[kind] += size
        if whole and size:
            known = self._known.get(kind, (0.0, 0))
            self._known[kind] = known[0] + seconds, known[1] + size

    def forget(self, recording: Recording) -> None:
        """It is heard again from its beginning."""
        self.heard -= self._running.pop(recording.path, 0.0)

    def stop(self) -> None:
        """Add up no more."""
        self._stopped = True

    @property
    def now(self) -> Progress:
        return Progress(self.done, self.failed, self.skipped, self.heard, self._left())

    def _left(self) -> float | None:
        total, known = self._total, self._known
        if total is None:
            return None
        left = {kind: max(0, size - self._passed[kind]) for kind, size in total.items()}
        if not any(left.values()):
            return 0.0
        if not known:
            return None
        seconds, sizes = map(sum, zip(*known.values(), strict=True))
        rates = {kind: known.get(kind, (seconds, sizes)) for kind in left}
        whole = sum(size * rates[kind][0] / rates[kind][1] for kind, size in left.items())
        return max(0.0, whole - sum(self._running.values()))

    def _add_up(self, sources: Sequence[str], recursive: bool) -> None:
        total: Counter[str] = Counter()
        for recording in find(sources, recursive):
            if self._stopped:
                return
            total[_kind(recording)] += _size(recording)
        self._total = total


def _kind(recording: Recording) -> str:
    return os.path.splitext(recording.path)[1].lower()


def _size(recording: Recording) -> int:
    with suppress(OSError):
        return 0 if recording.wrong else os.path.getsize(recording.path)
    return 0
