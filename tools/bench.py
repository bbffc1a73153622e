#!/usr/bin/env python
"""Measure a model on this machine: time for each frame, memory, bandwidth, latency.

    python tools/bench.py tiny
    python tools/bench.py tiny --kind tts
    python tools/bench.py tiny --live 4 --files 8 --voices 1     in real time, beside each other
    python tools/bench.py tiny --soak 1                          an hour, as others join and leave
    python tools/bench.py --random stt-1b --bits 4 --rows 1 2 4 8
    python tools/bench.py --random stt-small --together 8        the share of CPU time a row takes
    python tools/bench.py --random tts-1.6b --bits 4 --count     kernels and bytes, nothing computed
    python tools/bench.py --memory                               what a Mac can hold
    python tools/bench.py --report mac.md                        all that matters, in five minutes
    python tools/bench.py --random stt-small --against moshi_mlx --peer-python VENV/bin/python
    python tools/bench.py --random mimi --against rustymimi --peer-python VENV/bin/python

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

import dsm_mlx  # before MLX, whose BLAS it chooses

# isort: split
import mlx.core as mx
import outputs
from benchmark import against, counts, latency, live, machine, memory, models, report, run, stt, tts

from dsm_mlx.cli.arguments import whole
from dsm_mlx.cli.common import exit_status
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import DTYPES
from dsm_mlx.runtime import blas

_RECORDING = Path(__file__).parents[1] / "demos/audio/bus.wav"


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.compile:
        os.environ["DSM_MLX_COMPILE"] = "1"
    return exit_status(lambda: bench(options))


def bench(options: argparse.Namespace) -> int:
    """Measure, and show what is known, even where something goes wrong after that."""
    if options.memory:
        print("\n\n".join(memory.tables()))
        return 0
    if options.report:
        return report.write(options.report, options.seconds, say) > 0
    if options.plot:
        options.plot = outputs.check_plot(options.plot, "--plot")
    about = {"model": options.model or f"random {options.random}"}
    about |= {"device": machine.device(), "blas": blas.name()}
    known: dict = {}
    work = _work(options)
    try:
        seconds = work(options, known)
    finally:
        if known:
            result = about | known
            print(json.dumps(result, indent=1) if options.json else table(result), flush=True)
    if options.plot:
        run.plot(seconds, about["model"], options.plot)
    return 0


def _work(options: argparse.Namespace):
    if options.against:
        return compare
    if options.count:
        return count
    return beside if _in_real_time(options) else measure


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure a model: time for each frame, memory, bandwidth, latency."
    )
    _add_model(parser.add_argument)
    _add_work(parser.add_argument)
    options = parser.parse_args(arguments)
    (_check_whole if options.memory or options.report else _check)(options, parser.error)
    return options


def _add_model(add) -> None:
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
    add("--tts", metavar="MODEL", help="says the voices (default: the model itself)")


def _add_work(add) -> None:
    add("--frames", type=whole(1), default=100, help="frames to time (default: 100)")
    add("--rows", type=whole(1), nargs="+", default=[1], metavar="N", help="batch sizes to time")
    add("--together", type=whole(1), metavar="N", help="CPU time of N streams, against N batches")
    add("--count", action="store_true", help="kernels and bytes of a frame, without computing it")
    add("--memory", action="store_true", help="bytes of all models, and what a Mac can hold")
    add("--cold", action="store_true", help="time a new process to its first word or sound, too")
    add("--soak", type=hours, metavar="HOURS", help="run one stream for so much sound instead")
    add("--live", type=whole(1), default=0, metavar="N", help="streams in real time instead, and")
    add("--files", type=whole(1), default=0, metavar="N", help="recordings beside them, and")
    add("--voices", type=whole(1), default=0, metavar="N", help="speech streams beside them")
    add(
        "--seconds",
        type=float,
        default=20.0,
        help="of each of these loads, or parts of a report (default: 20)",
    )
    add("--report", type=Path, metavar="FILE", help="write all that matters, as Markdown")
    add("--plot", metavar="FILE", help="draw the time of each frame")
    add("--against", choices=against.PEERS, help="time both, in turns, on the same weights")
    add(
        "--peer-python",
        default=os.environ.get("PEER_PYTHON"),
        metavar="PATH",
        help="the Python that has the other library (default: $PEER_PYTHON)",
    )
    add("--json", action="store_true", help="print JSON instead of a table")


def _check(options: argparse.Namespace, error) -> None:
    """Call `error` with what is wrong."""
    if (options.model is None) == (options.random is None):
        error("expected a model or --random SHAPE")
    if options.against:
        _check_against(options, error)
    elif options.random == "mimi":
        error("--random mimi needs --against")
    if options.count and (not options.random or options.against):
        error("--count needs --random SHAPE, and goes without --against")
    if options.cold and not options.model:
        error("--cold needs a model")
    if options.soak and options.together:
        error("--soak and --together are two runs")
    if _in_real_time(options):
        if not options.model:
            error("--live, --files and --voices need a model")
        if options.plot or options.soak or options.cold or options.together:
            error("--live, --files and --voices go with none of --plot, --soak, --cold, --together")
        _check_seconds(options, error)


def _check_whole(options: argparse.Namespace, error) -> None:
    """The same of what is about all models."""
    if options.memory and options.report:
        error("--memory and --report are two runs")
    if options.model or options.random:
        error("--memory and --report take no model (--random SHAPE --count tells of one)")
    _check_seconds(options, error)


def _check_seconds(options: argparse.Namespace, error) -> None:
    if not 1 <= options.seconds <= 86_400:
        error("--seconds must be 1 to 86400")


def _check_against(options: argparse.Namespace, error) -> None:
    if not (options.random and options.peer_python):
        error("--against needs --random SHAPE and --peer-python PATH")
    if wrong := against.unfit(options.against, options.random):
        error(wrong)
    if options.soak or options.plot or options.together:
        error("--against goes with none of --soak, --plot and --together")


def _in_real_time(options: argparse.Namespace) -> bool:
    return bool(options.live or options.files or options.voices)


def hours(text: str) -> float:
    value = float(text)
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text} (expected hours above 0)")
    return value


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(options: argparse.Namespace, known: dict) -> None:
    """Put another library's figures into `known`, and ours."""
    how = options.against, options.peer_python, options.frames, options.cache
    known |= against.compare(options.random, *how, say)


def count(options: argparse.Namespace, known: dict) -> None:
    """Put what can be counted of a frame into `known`."""
    known["bits"] = options.bits
    known["a frame"] = counts.figures(counts.of_shape(options.random, options.bits))
    known["memory, MB"] = memory.figures(options.random, options.bits)


def beside(options: argparse.Namespace, known: dict) -> None:
    """Put figures of live streams, recordings and voices beside each other into `known`."""
    how = {"bits": options.bits, "dtype": options.dtype, "cache": options.cache}
    stt = tts = None
    say("loading")
    if options.live or options.files:
        rows = options.live + options.files
        stt = dsm_mlx.load_stt(options.model, max_streams=rows, **how)
    if options.voices:
        name = options.tts or options.model
        tts = dsm_mlx.load_tts(name, max_streams=options.voices, **how)
    load = live.Load(options.live, options.files, options.voices)
    known |= live.measure(live.Loads(stt, tts), load, options.seconds, say)


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
    elif options.together:
        say(f"{options.together} streams, {options.frames} frames")
        known["together"], seconds = run.share(subject, options.together, options.frames)
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
            lines.append(f"{indent}{key:<{40 - len(indent)}}  {_shown(value)}")
    return "\n".join(lines)


def _shown(value) -> str:
    if isinstance(value, list):
        return "  ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
    return str(value)


if __name__ == "__main__":
    sys.exit(main())
