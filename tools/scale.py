#!/usr/bin/env python
"""How long an archive takes on 1, 2, 4, 8 workers, and what bounds it: a simulation.

    python tools/scale.py                              two archives, step times of `tiny` on a CPU
    python tools/scale.py --step 2.8 0.27 --rows 16    others: A + B * rows milliseconds a frame
    python tools/scale.py --link 2                     files over a slow network, in MB a second

As `dsm_mlx.archive.cluster` does it: recordings are begun in order wherever a row is free, a
recording is one row's work from its first piece to its last, files are read ahead over one link,
and one client writes. Everything is computed, nothing is timed, so that the same arguments give the
same tables. The table goes to stdout.
"""

from __future__ import annotations

import argparse
import random
from dataclasses import dataclass

FRAME_RATE = 12.5
_FLUSH = 1.5  # seconds of silence that bring out the last word
_HOUR = 3600.0


@dataclass(frozen=True)
class Costs:
    """What things take. step: A and B of A + B * rows seconds a frame. rows: recordings that a
    worker hears at a time. link: bytes a second that can be read or sent in all. rate: bytes of a
    second of sound in a file. piece: seconds of sound in a task; handing one on takes `handover`
    seconds. file: seconds that the client needs for one, to ask for it and to write it."""

    step: tuple[float, float] = (0.004, 0.008)
    rows: int = 8
    link: float = 100e6
    rate: float = 16e3
    piece: float = 300.0
    handover: float = 0.3
    file: float = 0.01

    def seconds(self, frames: float, rows: float) -> float:
        """Of a frame of each of so many rows."""
        return frames * (self.step[0] + self.step[1] * rows)


def simulate(lengths: list[float], workers: int, costs: Costs) -> float:
    """Seconds until the last of the recordings, of so many seconds each, is written."""
    now = linked = wrote = 0.0
    waiting = list(reversed(lengths))
    arrived: list[tuple[float, float]] = []  # when a file is there, and how long it is; read ahead
    rows: list[list[float]] = [[] for _ in range(workers)]  # frames left of each recording
    room = workers * costs.rows
    while waiting or arrived or any(rows):
        while waiting and len(arrived) < room:
            length = waiting.pop()
            linked = max(linked, now) + length * costs.rate / costs.link
            arrived.append((linked, length))
        while arrived and arrived[0][0] <= now:
            row = min(rows, key=len)
            if len(row) == costs.rows:
                break
            row.append(_frames(arrived.pop(0)[1], costs))
        ends = [costs.seconds(min(row), len(row)) for row in rows if row]
        if arrived and any(len(row) < costs.rows for row in rows):
            ends.append(max(0.0, arrived[0][0] - now))
        spent = min(ends)
        now += spent
        for index, row in enumerate(rows):
            if row:
                heard = spent / costs.seconds(1, len(row))
                left = [frames - heard for frames in row]
                rows[index] = [frames for frames in left if frames > 1e-6]
                for _ in range(len(left) - len(rows[index])):
                    wrote = max(wrote, now) + costs.file
    return wrote


def _frames(length: float, costs: Costs) -> float:
    """Of a recording, with those that pass while its pieces are handed on."""
    frames = (length + _FLUSH) * FRAME_RATE
    return frames + length // costs.piece * costs.handover / costs.seconds(1, costs.rows)


def bounds(lengths: list[float], workers: int, costs: Costs) -> dict[str, float]:
    """Seconds that it takes at least, by what bounds it."""
    frames = sum(_frames(length, costs) for length in lengths)
    return {
        "hearing": costs.seconds(frames, costs.rows) / costs.rows / workers,
        "the longest file": costs.seconds(_frames(max(lengths), costs), 1),
        "reading": sum(lengths) * costs.rate / costs.link,
        "the client": len(lengths) * costs.file,
    }


def archive(files: int, hours: float, spread: float, seed: int = 0) -> list[float]:
    """The lengths of so many recordings, which add up to so many hours; log-normal."""
    chance = random.Random(seed)
    lengths = [chance.lognormvariate(0.0, spread) for _ in range(files)]
    return [length * hours * _HOUR / sum(lengths) for length in lengths]


def report(lengths: list[float], costs: Costs, workers: list[int]) -> str:
    rows = []
    alone = simulate(lengths, 1, costs)
    for count in workers:
        took, least = simulate(lengths, count, costs), bounds(lengths, count, costs)
        bound = max(least, key=lambda name: least[name])
        shares = [f"{least[name] / _HOUR:.2f}" for name in least]
        rows.append([str(count), f"{took / _HOUR:.2f}", f"{alone / took:.2f}", *shares, bound])
    names = [f"{name}, h" for name in bounds(lengths, 1, costs)]
    head = ["workers", "hours", "times as fast", *names, "bound by"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    a, b = (value / 1000 for value in options.step)
    costs = Costs((a, b), options.rows, options.link * 1e6, options.rate * 1e3)
    for title, files, hours, spread in ARCHIVES:
        lengths = archive(files, hours, spread)
        print(f"{title}: {files} files, {hours} hours, the longest {max(lengths) / _HOUR:.1f} h\n")
        print(report(lengths, costs, options.workers), end="\n\n")
    return 0


ARCHIVES = (("Talks", 2000, 1000, 0.8), ("A few long ones", 40, 200, 1.0))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Simulate archives on a cluster.")
    add = parser.add_argument
    add("--workers", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    add("--rows", type=int, default=Costs.rows, help="recordings at a time of each (default: 8)")
    add("--step", type=float, nargs=2, default=[4.0, 8.0], metavar=("A", "B"), help="ms a frame")
    add("--link", type=float, default=100.0, metavar="MB", help="a second, of all reading")
    add("--rate", type=float, default=16.0, metavar="KB", help="of a second of sound, in a file")
    options = parser.parse_args(arguments)
    if min(*options.workers, options.rows) < 1 or min(options.link, options.rate) <= 0:
        parser.error("--workers, --rows, --link and --rate must be positive")
    if options.step[0] < 0 or options.step[1] < 0 or not sum(options.step):
        parser.error("--step must be two times that are not negative, and not both 0")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
