#!/usr/bin/env python
"""Measure a model on this machine: time for each frame, memory, bandwidth, latency.

    python tools/bench.py tiny
    python tools/bench.py tiny --kind tts
    python tools/bench.py --random stt-1b --bits 4 --rows 1 2 4 8
    python tools/bench.py --random stt-small --against moshi_mlx --peer-python VENV/bin/python

The table goes to stdout, or with --json the same as one JSON object; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

import mlx.core as mx
import outputs
from benchmark import against, latency, machine, models, run, stt, tts

from dsm_mlx.cli.common import exit_status
from dsm_mlx.loading.checkpoint import DTYPES, Checkpoint
from dsm_mlx.runtime import worker

_RECORDING = Path(__file__).parents[1] / "demos/audio/bus.wav"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.compile:
        os.environ["DSM_MLX_COMPILE"] = "1"
    return exit_status(lambda: bench(options))


def bench(options: argparse.Namespace) -> int:
    """Measure, and show what is known, even where something goes wrong after that."""
    if options.plot:
        options.plot = outputs.check_plot(options.plot, "--plot")
    about = {"model": options.model or f"random {options.random}", "device": machine.name()}
    known: dict = {}
    try:
        seconds = worker.run(compare if options.against else measure, options, known)
    finally:
        if known:
            result = about | known
            print(json.dumps(result, indent=1) if options.json else table(result), flush=True)
    if options.plot:
        run.plot(seconds, about["model"], options.plot)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure a model: time for each frame, memory, bandwidth, latency."
    )
    add = parser.add_argument
    add("model", nargs="?", help="folder, hub id or short name, such as tiny")
    add(
        "--random",
        metavar="SHAPE",
        choices=[*models.NAMES, "mimi"],
        help=f"random weights instead: {', '.join(models.NAMES)}; mimi with --against",
    )
    add("--kind", choices=("stt", "tts"), help="which half of tiny (default: stt)")
    add("--bits", type=int, choices=(4, 8), help="quantise while loading")
    add("--dtype", choices=DTYPES)
    add("--cache", choices=(*DTYPES, "q8"), help="how keys and values are kept")
    add("--compile", action="store_true", help="compile steps on the CPU, too")
    add("--frames", type=int, default=100, help="frames to time (default: 100)")
    add("--rows", type=int, nargs="+", default=[1], metavar="N", help="batch sizes to time")
    add("--cold", action="store_true", help="time a new process to its first word or sound, too")
    add("--soak", type=hours, metavar="HOURS", help="run one stream for so much sound instead")
    add("--plot", metavar="FILE", help="draw the time of each frame")
    add("--against", choices=("moshi_mlx",), help="time both, in turns, on the same weights")
    add(
        "--peer-python",
        default=os.environ.get("PEER_PYTHON"),
        metavar="PATH",
        help="the Python that has moshi_mlx (default: $PEER_PYTHON)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    if (options.model is None) == (options.random is None):
        parser.error("expected a model or --random SHAPE")
    if options.against and not (options.random and options.peer_python):
        parser.error("--against needs --random SHAPE and --peer-python PATH")
    if options.random == "mimi" and not options.against:
        parser.error("--random mimi needs --against moshi_mlx")
    if options.cold and not options.model:
        parser.error("--cold needs a model")
    if options.against and (options.soak or options.plot):
        parser.error("--against goes with neither --soak nor --plot")
    if options.frames < 1 or min(options.rows) < 1:
        parser.error("--frames and --rows must be 1 or more")
    return options


def hours(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} (expected hours above 0)")
    return value


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(options: argparse.Namespace, known: dict) -> None:
    """Put another library's figures into `known`, and ours."""
    how = options.peer_python, options.frames, options.cache
    known |= against.compare(options.random, *how, say)


def measure(options: argparse.Namespace, known: dict) -> list[float]:
    """Put figures into `known` as they are there; returns the seconds of each frame."""
    say("memory bandwidth")
    bandwidth = machine.bandwidth()
    say("loading")
    start = time.perf_counter()
    subject = load(options)
    loaded = time.perf_counter() - start
    known |= {
        "bits": options.bits,
        "bandwidth GB/s": bandwidth / 1e9,
        "import seconds": machine.import_seconds(),
        "load seconds": loaded,
    }
    mx.clear_cache()
    mx.reset_peak_memory()
    if options.soak:
        known["soak"], seconds = run.soak(subject, options.soak, say)
    else:
        for rows in options.rows:
            say(f"{rows} row{'s' * (rows > 1)}, {options.frames} frames")
            figures, seconds = run.time_rows(subject, rows, options.frames, bandwidth)
            known[f"rows {rows}"] = figures
        say("parts")
        known["parts, ms"] = subject.parts(options.frames)
    if options.cold:
        say("cold start")
        known["cold start, seconds"] = cold_start(options, subject)
    return seconds


def cold_start(options: argparse.Namespace, subject) -> dict:
    if isinstance(subject, stt.Listener):
        return latency.first_word(options.model, options.bits, str(_RECORDING))
    return latency.first_sound(options.model, options.bits, "Hello, how are you today?")


def load(options: argparse.Namespace) -> stt.Listener | tts.Speaker:
    name, how = options.random or options.model, (options.bits, options.dtype, options.cache)
    if options.random:
        return (tts.Speaker if name.startswith("tts") else stt.Listener).random(name, *how)
    config = Checkpoint.find(name, options.kind).config
    speaks = config.get("model_type", str, options.kind or "") == "tts"
    return (tts.Speaker if speaks else stt.Listener).load(name, *how)


def table(result: dict, indent: str = "") -> str:
    """Nested figures as lines of text."""
    lines = []
    for key, value in result.items():
        if isinstance(value, dict) and set(value) == {"median", "p95", "max"}:
            value = "  ".join(f"{k} {v:.2f}" for k, v in value.items())
        if isinstance(value, dict):
            lines += [f"{indent}{key}", table(value, indent + "  ")]
        elif value is not None:
            lines.append(f"{indent}{key:<{34 - len(indent)}}{_shown(value)}")
    return "\n".join(lines)


def _shown(value) -> str:
    if isinstance(value, list):
        return "  ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
