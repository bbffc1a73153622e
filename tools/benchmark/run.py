"""Streams that go as fast as they can: some frames of several batch sizes, or hours of one."""

from __future__ import annotations

import gc
import math
import time
from pathlib import Path

import mlx.core as mx

from benchmark import machine
from benchmark.lockstep import Lockstep
from benchmark.statistics import quantile, spread

_SAMPLES = 50  # how often a soak looks at the memory
# Of a soak, in frames: when others join, how long they stay, and when all begins again.
_JOIN, _STAY, _AGAIN = (20, 25, 30), 15, 60
_TURNS = 5  # of one stream and of many, so that a busy machine disturbs both alike


def time_rows(subject, rows: int, frames: int, bandwidth: float) -> tuple[dict, list[float]]:
    """Figures of `rows` streams in lockstep, and the seconds of each frame.

    bandwidth: bytes a second of this machine.
    """
    figures, begin, seconds = time_frames(subject, rows, frames, bandwidth)
    return figures | subject.figures(rows, frames, begin), seconds


def time_frames(
    subject, rows: int, frames: int, bandwidth: float, limit: float = math.inf
) -> tuple[dict, list[float], list[float]]:
    """Figures of `rows` streams in lockstep, the seconds of each frame that they began with, and of
    each that counts: `frames` of them, or as many as `limit` seconds allow.

    ValueError if that was none.
    """
    end, together = time.perf_counter() + limit, subject.lockstep(rows)
    for number in range(rows):
        together.join(subject.session(number))
    begin = _run_until(end, together, subject.frames_to_warm)
    before = time.process_time()
    seconds = _run_until(end, together, frames)
    if not seconds:
        slowest = max(begin, default=0.0)
        raise ValueError(
            f"no frame in {limit:g} s: {len(begin)} of {subject.frames_to_warm} to begin with, "
            f"the slowest in {slowest:.1f} s"
        )
    cpu = (time.process_time() - before) / len(seconds)
    live = spread(seconds)
    read = subject.bytes_per_step(rows, len(begin) + len(seconds) // 2)  # halfway
    figures = {
        "first frame ms": 1e3 * begin[0],
        "frame ms": live,
        "frame ms, CPU time": 1e3 * cpu,
        "real-time factor": 1e-3 * live["median"] * subject.frame_rate,
        "MB read per step": read / 1e6,
        "share of bandwidth": read / (1e-3 * live["median"]) / bandwidth,
        "active MB": mx.get_active_memory() / 1e6,
        "peak MB": mx.get_peak_memory() / 1e6,
        "resident MB": machine.resident() / 1e6,
    }
    together.close()
    return figures, begin, seconds


def _run_until(end: float, together: Lockstep, frames: int) -> list[float]:
    """The seconds of each frame that began before the time `end`."""
    seconds: list[float] = []
    while len(seconds) < frames and time.perf_counter() < end:
        seconds.append(together.run())
    return seconds


def share(subject, rows: int, frames: int) -> tuple[dict, list[float]]:
    """What a frame of `rows` streams that joined one by one costs, beside as many by themselves;
    and the seconds of each frame of all."""
    alone, together = subject.lockstep(1), subject.lockstep(rows)
    alone.join(subject.session(0))
    for number in range(rows):
        together.join(subject.session(number))
        together.run()
    for each in (alone, together):
        for _ in range(subject.frames_to_warm):
            each.run()
    cpu: dict[Lockstep, float] = {alone: 0.0, together: 0.0}
    seconds: dict[Lockstep, list[float]] = {alone: [], together: []}
    piece = -(-frames // _TURNS)
    for each in (alone, together) * _TURNS:
        before = time.process_time()
        seconds[each] += [each.run() for _ in range(piece)]
        cpu[each] += (time.process_time() - before) / (piece * _TURNS)
    alone.close()
    together.close()
    figures = {
        "one stream: frame ms": spread(seconds[alone]),
        "one stream: frame ms, CPU time": 1e3 * cpu[alone],
        f"{rows} streams: frame ms": spread(seconds[together]),
        f"{rows} streams: frame ms, CPU time": 1e3 * cpu[together],
        f"share of the CPU time of {rows} by themselves": cpu[together] / (rows * cpu[alone]),
    }
    return figures, seconds[together]


def soak(subject, hours: float, say) -> tuple[dict, list[float]]:
    """One stream of that many hours of sound, while others join and leave: what its step and its
    memory grow by, and what all leave behind. Memory is looked at when the others have left."""
    rounds = max(2, round(hours * 3600 * subject.frame_rate / _AGAIN))
    every = max(1, rounds // _SAMPLES)
    together = subject.lockstep(1 + len(_JOIN))
    _go_round(subject, together)
    together.close()
    before = _active_bytes()
    together.join(subject.session(0))
    # By how many others were there.
    seconds: list[list[float]] = [[] for _ in range(1 + len(_JOIN))]
    everything, active, resident = [], [], []
    for i in range(rounds):
        for others, took in _go_round(subject, together):
            everything.append(took)
            seconds[others].append(took)
        if (i + 1) % every == 0:
            active.append(_active_bytes())
            resident.append(machine.resident())
            say(f"soak: {(i + 1) * _AGAIN / subject.frame_rate / 3600:.2f} of {hours} hours")
    together.close()
    figures = {"frames": len(everything), "joins": rounds * len(_JOIN)}
    for count in (0, len(_JOIN)):
        who = f"beside {count} others" if count else "by itself"
        first, last = _fifths(seconds[count])
        figures[f"frame ms {who}"] = spread(seconds[count])
        figures[f"frame ms {who}, first and last fifth"] = [
            1e3 * quantile(fifth, 0.5) for fifth in (first, last)
        ]
    return figures | {
        "active MB, first and last fifth": [min(fifth) / 1e6 for fifth in _fifths(active)],
        "active MB at most": max(active) / 1e6,
        "active bytes left behind": _active_bytes() - before,
        "resident MB, first and last fifth": [min(fifth) / 1e6 for fifth in _fifths(resident)],
    }, everything


def _go_round(subject, together: Lockstep) -> list[tuple[int, float]]:
    """Frames of whoever is there, while others join and leave: how many others, and seconds."""
    others, found = [], []
    for at in range(_AGAIN):
        if at in _JOIN:
            others.append(subject.session(at))
            together.join(others[-1])
        if at - _STAY in _JOIN:
            together.leave(others.pop(0))
        found.append((len(others), together.run()))
    return found


def _active_bytes() -> int:
    """While something runs, MLX may hold some kilobytes more or less, as its threads come to it."""
    gc.collect()
    mx.synchronize()
    return mx.get_active_memory()


def _fifths(values: list) -> tuple[list, list]:
    """The first and the last fifth."""
    count = max(1, len(values) // 5)
    return values[:count], values[-count:]


def plot(seconds: list[float], title: str, path: Path) -> None:
    """Draw the time of each frame."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(9, 4))).add_subplot()
    axes.plot([1e3 * s for s in seconds], ".", markersize=2)
    axes.set(title=title, xlabel="frame", ylabel="ms", ylim=0)
    figure.savefig(path, dpi=120)
