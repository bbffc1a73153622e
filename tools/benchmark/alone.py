"""A part of a step by itself."""

from __future__ import annotations

import time

import mlx.core as mx

from benchmark.statistics import spread


def run_alone(step, inputs, state, frames: int) -> dict[str, float]:
    """The spread of milliseconds of `step(inputs, state)`, each evaluated before the next."""
    times = []
    for _ in range(frames + 3):
        start = time.perf_counter()
        output, state = step(inputs, state)
        mx.eval(output, state)
        times.append(time.perf_counter() - start)
    return spread(times[3:])
