"""Who goes along in the next step of a batch, by the time that it is predicted to take.

Rules and figures: whatever waits to be heard or said live goes in the next step. Recordings ride
along where that costs nearly nothing, and otherwise use the time in which nobody live waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

FRAME_SECONDS = 0.08
_RIDE = 1.1  # how much longer a step of live rows may become by recordings
_ALONE_SECONDS, _ALONE = 0.02, 1.25  # of recordings while somebody live could come
PATIENCE = 0.5  # seconds for which a recording may be passed over
_FORGET = 0.98  # how much a step counts when another one has come
_OUTLIER = 2.0  # times what was predicted: more does not count

Item = TypeVar("Item")


class Cost:
    """The time of a step as a line through the rows of past steps: `a + b * rows` seconds.

    steps, seconds: of all steps so far.
    """

    def __init__(self) -> None:
        self._line: tuple[float, float] | None = None
        self.steps, self.seconds = 0, 0.0
        self._seen: set[int] = set()  # numbers of rows
        self._sums = [0.0] * 5  # of 1, rows, seconds, rows^2, rows * seconds

    @property
    def known(self) -> bool:
        return self._line is not None

    def __call__(self, rows: int) -> float:
        """Seconds that a step of so many rows is predicted to take; 0 before the first one."""
        a, b = self._line or (0.0, 0.0)
        return a + b * rows

    def learn(self, rows: int, seconds: float) -> None:
        """A step of `rows` rows took so long. The first one of a number of rows tells nothing:
        weights are read in and kernels made in it."""
        self.steps += 1
        self.seconds += seconds
        if rows not in self._seen:
            self._seen.add(rows)
            return
        if self._line is None:  # a guess, until steps of other sizes have been seen
            self._line = 0.3 * seconds, 0.7 * seconds / rows
        seconds = min(seconds, _OUTLIER * self(rows))
        new = (1.0, rows, seconds, rows * rows, rows * seconds)
        self._sums = [_FORGET * old + add for old, add in zip(self._sums, new, strict=True)]
        count, n, t, nn, nt = self._sums
        spread = nn / count - (n / count) ** 2
        a, b = self._line
        if spread > 0.05:
            b = max(0.0, (nt / count - n / count * t / count) / spread)
        a = t / count - b * n / count
        if a < 0:
            a, b = 0.0, t / n
        self._line = a, b


def choose(
    live: Sequence[Item],
    files: Sequence[Item],
    waits: Sequence[float],
    cost: Cost,
    *,
    live_open: bool,
    since_file: float,
) -> list[Item]:
    """The rows of the next step.

    Args:
        live: rows with a live frame waiting. All of them go.
        files: recordings with a frame waiting, the longest waiting first.
        waits: seconds for which each of `files` has been waiting.
        live_open: whether somebody live could come while the step runs.
        since_file: seconds since a recording went along.
    """
    if not live and not live_open:
        return list(files)
    due = sum(wait >= PATIENCE for wait in waits)
    if live:
        # So that none is passed over for longer, each has its turn some time before.
        if files and since_file >= PATIENCE / len(files):
            due = max(due, 1)
        limit = _RIDE * cost(len(live))
    else:
        due = max(due, 1)
        limit = max(_ALONE_SECONDS, _ALONE * cost(1)) if cost.known else 0.0
    going = due
    while going < len(files) and cost.known and cost(len(live) + going + 1) <= limit:
        going += 1
    return [*live, *files[:going]]
