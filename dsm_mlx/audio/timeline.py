"""Decoded pieces of sound, each with its time, as one signal in which every time is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

GAP_SECONDS = 0.1  # containers round their times; less is no gap
CLOCK_SECONDS = 12 * 3600.0  # a longer jump is a clock that was set, not silence
BLOCK_SECONDS = 1.0


def on_time(
    pieces: Iterable[tuple[float | None, np.ndarray]], rate: float, start: float = 0.0
) -> Iterator[np.ndarray]:
    """Float32 (samples, channels) blocks, with silence wherever the times leave a gap.

    pieces: (seconds, samples); None continues the piece before. `start`: the time at which the
    signal begins. Nothing is dropped: a piece that comes too early, as in files that were joined,
    follows the piece before, and later times count from there.
    """
    done = start  # as the pieces count time, in seconds
    least = 0.0
    for time, samples in pieces:
        gap = 0.0 if time is None else time - done
        if least < gap <= CLOCK_SECONDS:
            yield from _silence(round(gap * rate), samples.shape[1], rate)
        if gap > least or gap < -GAP_SECONDS:
            done += gap
        yield samples
        done += len(samples) / rate
        least = GAP_SECONDS


def _silence(count: int, channels: int, rate: float) -> Iterator[np.ndarray]:
    size = int(BLOCK_SECONDS * rate)
    for begin in range(0, count, size):
        yield np.zeros((min(size, count - begin), channels), np.float32)
