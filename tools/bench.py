#!/usr/bin/env python
"""Measure a model on this machine: time for each frame, memory, bandwidth, latency.

    python tools/bench.py tiny
    python tools/bench.py --random stt-1b --bits 4 --rows 1 2 4 8

The table goes to stdout, or with --json the same as one JSON object; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import mlx.core as mx
from benchmark import latency, machine, models, stt, tts
from benchmark.statistics import spread

from dsm_mlx import CheckpointError, owner
from dsm_mlx.checkpoint import Checkpoint

_WARM = 3  # frames before the clock counts


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        result = owner.run(measure, options)
    except (CheckpointError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=1) if options.json else table(result))
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure a model: time for each frame, memory, bandwidth, latency."
    )
    parser.add_argument("model", nargs="?", help="folder, hub id or short name, such as tiny")
    parser.add_argument(
        "--random",
        metavar="SHAPE",
        choices=models.NAMES,
        help=f"random weights instead: {', '.join(models.NAMES)}",
    )
    parser.add_argument("--bits", type=int, choices=(4, 8), help="quantise while loading")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--frames", type=int, default=100, help="frames to time (default: 100)")
    parser.add_argument("--rows", type=int, nargs="+", default=[1], help="batch sizes to time")
    parser.add_argument("--audio", metavar="FILE", help="a recording, to time the first word")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(arguments)
    if (options.model is None) == (options.random is None):
        parser.error("expected a model or --random SHAPE")
    return options


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(options: argparse.Namespace) -> dict:
    say("memory bandwidth")
    bandwidth = machine.bandwidth()
    result = {
        "model": options.model or f"random {options.random}",
        "bits": options.bits,
        "device": machine.name(),
        "import seconds": machine.import_seconds(),
    }
    say("loading")
    start = time.perf_counter()
    kind, time_rows = (tts, time_speaking) if speaks(options) else (stt, time_listening)
    if options.random:
        runner = kind.Runner.random(options.random, options.bits, options.dtype)
    else:
        runner = kind.Runner.load(options.model, options.bits, options.dtype)
    result["load seconds"] = time.perf_counter() - start
    mx.clear_cache()
    mx.reset_peak_memory()
    for rows in options.rows:
        result |= time_rows(runner, rows, options.frames, bandwidth)
    say("parts")
    result["part ms"] = kind.parts(runner, options.frames)
    result["bandwidth GB/s"] = bandwidth / 1e9
    if options.model and options.audio:
        say("first word")
        result["first word seconds"] = latency.first_word(
            options.model, options.bits, options.audio
        )
    return result


def speaks(options: argparse.Namespace) -> bool:
    """Whether the model is one of text to speech."""
    config = models.config(options.random) if options.random else None
    if config is None:
        config = Checkpoint.find(options.model, None).config
    return config.get("dep_q", int, 0) > 0


def time_speaking(talker: tts.Runner, rows: int, frames: int, bandwidth: float) -> dict:
    """Streams of `rows` rows: how long until the first sound, then frame by frame."""
    say(f"{rows} row{'s' * (rows > 1)}, {frames} frames")
    cold = next(talker.stream(rows).run(1))
    stream = talker.stream(rows)
    first = next(stream.run(1))
    live = spread(list(stream.run(frames)))
    read = talker.bytes_per_step(rows)
    figures = {
        "first sound of all ms": 1e3 * cold,
        "first sound ms": 1e3 * first,
        "frame ms": live,
        "real-time factor": 1e-3 * live["median"] * talker.frame_rate,
        "MB read per step": read / 1e6,
        "share of bandwidth": read / (1e-3 * live["median"]) / bandwidth,
        "active MB": mx.get_active_memory() / 1e6,
        "peak MB": mx.get_peak_memory() / 1e6,
        "resident MB": machine.resident() / 1e6,
    }
    stream.close()
    return {f"rows {rows}": figures}


def time_listening(listener: stt.Runner, rows: int, frames: int, bandwidth: float) -> dict:
    """A live stream of `rows` rows, then the same sound as a file would be heard."""
    say(f"{rows} row{'s' * (rows > 1)}, {frames} frames")
    stream = listener.stream(rows)
    first = next(stream.run(1))
    list(stream.run(_WARM))
    times = list(stream.run(frames))
    piped = next(stream.run(frames, at_once=frames)) / frames
    live = spread(times)
    read = listener.bytes_per_step(rows)
    figures = {
        "first frame ms": 1e3 * first,
        "frame ms": live,
        "real-time factor": 1e-3 * live["median"] * listener.frame_rate,
        "recording: frame ms": 1e3 * piped,
        "MB read per step": read / 1e6,
        "share of bandwidth": read / (1e-3 * live["median"]) / bandwidth,
        "active MB": mx.get_active_memory() / 1e6,
        "peak MB": mx.get_peak_memory() / 1e6,
        "resident MB": machine.resident() / 1e6,
    }
    stream.close()
    return {f"rows {rows}": figures}


def table(result: dict, indent: str = "") -> str:
    """Nested figures as lines of text."""
    lines = []
    for key, value in result.items():
        if isinstance(value, dict) and set(value) == {"median", "p95", "max"}:
            value = "  ".join(f"{k} {v:.2f}" for k, v in value.items())
        if isinstance(value, dict):
            lines += [f"{indent}{key}", table(value, indent + "  ")]
        elif value is not None:
            shown = f"{value:.3g}" if isinstance(value, float) else value
            lines.append(f"{indent}{key:<{28 - len(indent)}}{shown}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
