"""Streams against the clock: some frames of several batch sizes, or hours of one."""

from __future__ import annotations

import time
from pathlib import Path

import mlx.core as mx

from benchmark import machine
from benchmark.statistics import quantile, spread

_SAMPLES = 50  # how often a soak looks at the memory


def time_rows(subject, rows: int, frames: int, bandwidth: float) -> tuple[dict, list[float]]:
    """Figures of `rows` streams in lockstep, and the seconds of each frame.

    bandwidth: bytes a second of this machine.
    """
    stream = subject.stream(rows)
    times = stream.run(frames + subject.warm)
    begin = [next(times) for _ in range(subject.warm)]
    before = time.process_time()
    seconds = list(times)
    cpu = (time.process_time() - before) / frames
    live = spread(seconds)
    read = subject.bytes_per_step(rows)
    figures = {
        "first frame ms": 1e3 * begin[0],
        "frame ms": live,
        "frame ms, CPU time": 1e3 * cpu,
        "real-time factor": 1e-3 * live["median"] * subject.frame_rate,
    }
    if hasattr(stream, "recording"):
        figures["recording: frame ms"] = 1e3 * stream.recording(frames)
    else:
        figures["first sound ms"] = 1e3 * sum(begin[:-2])
    figures |= {
        "MB read per step": read / 1e6,
        "share of bandwidth": read / (1e-3 * live["median"]) / bandwidth,
        "active MB": mx.get_active_memory() / 1e6,
        "peak MB": mx.get_peak_memory() / 1e6,
        "resident MB": machine.resident() / 1e6,
    }
    stream.close()
    return figures, seconds


def soak(subject, hours: float, say) -> tuple[dict, list[float]]:
    """One stream of that many hours of sound: what its step and its memory grow by."""
    frames = max(_SAMPLES, round(hours * 3600 * subject.frame_rate))
    stream, seconds, memory = subject.stream(1), [], []
    list(stream.run(subject.warm))
    piece = frames // _SAMPLES
    for i in range(_SAMPLES):
        seconds += stream.run(piece)
        memory.append((mx.get_active_memory() / 1e6, machine.resident() / 1e6))
        say(f"soak: {(i + 1) * piece / subject.frame_rate / 3600:.2f} of {hours} hours")
    stream.close()
    fifth = len(seconds) // 5
    early, late = quantile(seconds[:fifth], 0.5), quantile(seconds[-fifth:], 0.5)
    (active, resident), (last_active, last_resident) = memory[0], memory[-1]
    figures = {
        "frames": len(seconds),
        "frame ms": spread(seconds),
        "frame ms, first and last fifth": [1e3 * early, 1e3 * late],
        "active MB, first and last": [active, last_active],
        "resident MB, first and last": [resident, last_resident],
    }
    return figures, seconds


def plot(seconds: list[float], title: str, path: Path) -> None:
    """Draw the time of each frame."""
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(9, 4))).add_subplot()
    axes.plot([1e3 * s for s in seconds], ".", markersize=2)
    axes.set(title=title, xlabel="frame", ylabel="ms", ylim=0)
    figure.savefig(path, dpi=120)
