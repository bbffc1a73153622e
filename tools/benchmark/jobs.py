"""The work that two libraries do on the same weights, each in a process of its own.

A job is a folder with `config.json` (a language model's), `model.safetensors` or
`mimi.safetensors`, in the layout and the types of the official files, and which part of a step
to time, in float32:
"stt" and "tts", the language model with its heads or its depth decoder, sampling included;
"encode" and "decode", one frame through the codec. A worker prints one JSON object:
{"ms": of each frame, "peak MB"}.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

PARTS = ("stt", "tts", "encode", "decode")


def work(job: dict, step: Callable[[], None], peak: Callable[[], int]) -> None:
    """Time `step`, which ends when its result is there, and print what came out."""
    for _ in range(job["warm"]):
        step()
    times = []
    for _ in range(job["frames"]):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    json.dump({"ms": times, "peak MB": peak() / 1e6}, sys.stdout)
