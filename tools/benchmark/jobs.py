"""The work that two libraries do on the same weights, each in a process of its own.

What is here needs numpy alone, because each worker runs in the Python that has its library.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS, LM, CODEC = "config.json", "model.safetensors", "mimi.safetensors"
CODEBOOKS, BINS, SAMPLES = 32, 2048, 1920  # of the official Mimi, a frame


@dataclass(frozen=True)
class Job:
    """One part of a step, to be timed in float32.

    folder: has a language model's config and weights or the codec's weights, in the layout and
    the types of the official files, and what the part is given.
    part: "stt" and "tts", the language model with its heads or its depth decoder, sampling
    included; "encode" and "decode", one frame through the codec.
    frames: how many are timed, after `warm` others; the results of the first `warm` are told.
    cores: how many threads may compute.
    cache: how ours keeps keys and values.
    turned: whether another library's matrices are laid out in memory as ours are.
    """

    folder: str
    part: str
    frames: int
    warm: int
    cores: int
    cache: str | None = None
    turned: bool = False

    @property
    def steps(self) -> int:
        return self.warm + self.frames

    @property
    def speaks(self) -> bool:
        return self.part == "tts"

    @property
    def of_codec(self) -> bool:
        return self.part in ("encode", "decode")

    def file(self, name: str) -> str:
        return str(Path(self.folder) / name)

    def settings(self) -> dict:
        """The language model's config."""
        return json.loads(Path(self.file(SETTINGS)).read_text())

    def give(self, listens_to: int) -> None:
        """Write what the part is given. listens_to: the codebooks that a language model hears."""
        random = np.random.default_rng(0)
        if self.part == "encode":
            frames = 0.1 * random.standard_normal((self.steps, 1, SAMPLES), np.float32)
        elif self.part == "decode":
            frames = random.integers(0, BINS, (self.steps, 1, CODEBOOKS, 1), np.int32)
        else:
            frames = random.integers(0, BINS, (self.steps, 1, listens_to), np.int32)
        np.save(self.file("given.npy"), frames)

    def given(self) -> np.ndarray:
        """One frame for each step: float32 (1, samples) to encode, int32 (1, codebooks, 1) to
        decode, int32 (1, codebooks) that a language model hears; none where it only speaks."""
        return np.load(self.file("given.npy"))

    def command(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of_command(cls) -> Job:
        return cls(**json.loads(sys.argv[1]))


Steps = Callable[[bool], Iterator[Any]]
"""Starts afresh; yields the result of one frame after another, when it is there. It is given
whether the results will be compared, and not timed: a model that speaks then takes the likeliest
tokens, where otherwise it draws them.

A result is codes of one frame, its samples, a text token, or a text token and the codes of the
frame that is now complete (-1 until there is one)."""


def work(
    job: Job, start: Steps, packages: tuple[str, ...], peak: Callable[[], int] | None = None
) -> None:
    """Time the steps, and print one JSON object: the milliseconds of each frame, the results of
    the first ones, peaks of memory in MB (MLX's own is None where `peak` is), versions."""
    with closing(start(True)) as steps:
        said = [np.asarray(result).ravel().tolist() for result in islice(steps, job.warm)]
    times = []
    with closing(start(False)) as steps:
        for _ in islice(steps, job.warm):
            pass
        for _ in range(job.frames):
            begin = time.perf_counter()
            next(steps)
            times.append(1e3 * (time.perf_counter() - begin))
    told = {
        "ms": times,
        "said": said,
        "peak MB": peak and peak() / 1e6,
        "peak resident MB": peak_resident() / 1e6,
        "versions": ", ".join(f"{name} {version(name)}" for name in packages),
    }
    json.dump(told, sys.stdout)


def peak_resident() -> int:
    """The most bytes of this process that were ever in memory.

    On Linux `ru_maxrss` would have what the parent had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
