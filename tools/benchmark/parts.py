"""The parts of a report, each a process of its own: `python -m benchmark.parts NAME SECONDS`.

A part prints one JSON object a line, as soon as it is known: {"row": cells of its table} or
{"skipped": why there is nothing to tell}. What goes wrong is the last line of stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import mlx.core as mx

import dsm_mlx
from benchmark import counts, exact, latency, live, machine, memory, run, stt, tts
from dsm_mlx.runtime.device import free_memory

_MANY = 8  # streams beside one
_FRAMES = 250  # at most
_TOO_SLOW = 4  # times real time: what one stream takes where more are not tried
_RECORDING = Path(__file__).parents[2] / "demos/audio/bus.wav"
_TEXT = "Hello, how are you today?"

Row = tuple[str, ...] | list[str]


class Skipped(Exception):
    """This machine cannot do it; the message says why."""


def about(_seconds: float) -> Iterator[Row]:
    """The machine."""
    yield from machine.about().items()
    yield "load average when it began", f"{os.getloadavg()[0]:.1f}"
    yield "memory bandwidth, measured by copying", f"{machine.bandwidth() / 1e9:.0f} GB/s"
    yield "`import dsm_mlx`", f"{machine.import_seconds():.3f} s"


def tiny(what: str, kind: type[stt.Listener | tts.Speaker], seconds: float) -> Iterator[Row]:
    """Frame times of the bundled model."""
    subject = kind.load("tiny", None, None, None)
    yield from frames(subject, ["tiny", what], seconds)


def cold_hearing(_seconds: float) -> Iterator[Row]:
    """A new process to its first word."""
    yield "first word", *_cold(latency.first_word("tiny", None, str(_RECORDING)))


def cold_speaking(_seconds: float) -> Iterator[Row]:
    """A new process to its first sound."""
    yield "first sound", *_cold(latency.first_sound("tiny", None, _TEXT))


def _cold(found: dict[str, float]) -> list[str]:
    return [f"{value:.2f} s" for value in found.values()]


def beside(seconds: float) -> Iterator[Row]:
    """Live streams, recordings and a voice of `tiny`, together and by themselves."""
    whole = live.Load(live=4, files=8, voices=1)
    hears = dsm_mlx.load_stt("tiny", max_streams=whole.live + whole.files)
    speaks = dsm_mlx.load_tts("tiny", max_streams=whole.voices)
    said = live.measure(live.Loads(hears, speaks), whole, seconds / 4, _say)
    waits = said["live frames, from when they were due"]
    for name, took in said["cores that other programs took"].items():
        ms = waits.get(f"{name}, ms", waits["one stream, ms"] if name == "1 live" else None)
        files = said["recordings, frames a second"].get(name)
        voice = said["voices"].get(name)
        yield [
            name,
            *(f"{ms[key]:.1f}" if ms else "" for key in ("median", "p95", "max")),
            "" if files is None else f"{files:.0f}",
            _first(voice),
            f"{voice['chunks late']} of {voice['chunks']}" if voice else "",
            "" if took is None else f"{sum(took) / len(took):.1f}",
        ]


def _first(voice: dict | None) -> str:
    found = voice and voice["first sound ms"]
    return f"{found['median']:.0f}" if found else ""


def shape(name: str, bits: int | None, seconds: float) -> Iterator[Row]:
    """An official shape with random weights: frame times of one stream and of many, and kernels."""
    rows = rows_in_memory(name, bits)
    kernels = str(counts.of_shape(name, bits)["in all"].compiled)
    kind = tts.Speaker if name.startswith("tts") else stt.Listener
    subject = kind.random(name, bits, None if bits else "bfloat16", None)
    if isinstance(subject, tts.Speaker):
        subject.delay = 0  # frames before the first sound would cost a slow machine much
    named = [name, f"{bits} bits" if bits else "bfloat16"]
    for row in frames(subject, named, seconds, rows):
        yield [*row, kernels]
    if len(rows) == 1:
        raise Skipped(f"{_MANY} streams, for which too little memory is free")


def rows_in_memory(name: str, bits: int | None) -> list[int]:
    """One stream and many, or one; Skipped if there is no memory for that either."""
    needs, free = memory.needs(name, bits)["bfloat16"], free_memory()
    for rows in ([1, _MANY], [1]):
        # As much again for a step's own arrays and for what MLX keeps.
        wanted = needs.model + needs.voice + 2 * rows[-1] * needs.stream + memory.KEPT_BY_MLX
        if wanted <= free:
            return rows
    raise Skipped(f"needs {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")


def frames(
    subject, named: list[str], seconds: float, rows: Sequence[int] = (1, _MANY)
) -> Iterator[list[str]]:
    """A row of the table of frames for each number of streams.

    Raises Skipped for more streams where one is far from real time already.
    """
    bandwidth = machine.bandwidth()
    for streams in rows:
        mx.clear_cache()
        mx.reset_peak_memory()
        limit = seconds / len(rows)
        found, _, times = run.time_frames(subject, streams, _FRAMES, bandwidth, limit)
        ms, factor = found["frame ms"], found["real-time factor"]
        yield [
            *named,
            str(streams),
            *(f"{ms[key]:.1f}" for key in ("median", "p95", "max")),
            f"{factor:.3f}",
            f"{found['MB read per step']:.0f}",
            f"{100 * found['share of bandwidth']:.0f}%",
            f"{found['peak MB']:.0f}",
            str(len(times)),
        ]
        if streams == 1 and factor > _TOO_SLOW and len(rows) > 1:
            raise Skipped(f"{rows[-1]} streams, since one takes {factor:.0f} times real time")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


WORK: dict[str, Callable[[float], Iterator[Row]]] = {
    "about": about,
    "goldens": lambda _: exact.goldens(),
    "speech": lambda _: exact.speech(),
    "words of tiny": lambda _: exact.words_of_tiny(),
    "compiled hearing": lambda _: exact.compiled_hearing(),
    "compiled speaking": lambda _: exact.compiled_speaking(),
    "tiny hearing": partial(tiny, "hearing", stt.Listener),
    "tiny speaking": partial(tiny, "speaking", tts.Speaker),
    "cold hearing": cold_hearing,
    "cold speaking": cold_speaking,
    "beside": beside,
}
WORK |= {
    f"{name} {bits or 16}": partial(shape, name, bits)
    for bits in (4, None)
    for name in memory.MODELS
}


def main(name: str, seconds: float) -> None:
    try:
        for row in WORK[name](seconds):
            print(json.dumps({"row": list(row)}), flush=True)
    except Skipped as why:
        print(json.dumps({"skipped": str(why)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
