#!/usr/bin/env python
"""Load on a server: many clients that come, go, break off, stall and send nonsense.

    python tools/load.py                               64 listeners, 8 speakers, 10 minutes
    python tools/load.py --seconds 20 --listeners 16
    python tools/load.py --latency                     `tiny` in real time: how late all comes

The first is with very small models, as fast as it goes. What was heard and said must be what the
library gives alone, memory must stay, and no slot may be lost; the status is 1 otherwise. Clients
speak Kyutai's protocol. The table goes to stdout, faults to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from bench import table
from loading import clients, expected, latency

from dsm_mlx.cli.common import exit_status

sys.path.append(str(Path(__file__).parents[1] / "tests"))

_SAMPLES = 100  # of the memory


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    return exit_status(lambda: run(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put load on a server of very small models.")
    add = parser.add_argument
    add("--seconds", type=float, default=600.0, help="how long (default: 600)")
    add("--listeners", type=int, default=64, help="clients that listen (default: 64)")
    add("--speakers", type=int, default=8, help="clients that speak (default: 8)")
    add("--seed", type=int, default=0, help="of what they do")
    add("--latency", action="store_true", help="tiny in real time, two clients, instead")
    options = parser.parse_args(arguments)
    if options.seconds < 1 or min(options.listeners, options.speakers) < 1:
        parser.error("--seconds, --listeners and --speakers must be 1 or more")
    return options


def run(options: argparse.Namespace) -> int:
    from serving import Served

    if options.latency:
        model = ("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", "--port", "0")
        with Served(*model) as server:
            print(table(asyncio.run(latency.measure(server.url("", "ws")))))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        truth = expected.make(Path(folder))
        most = max(options.listeners, options.speakers)
        with Served(stt=str(truth.stt), tts=str(truth.tts), max_streams=most) as server:
            figures, faults = asyncio.run(loaded(server, truth, options))
    print(table(figures))
    for fault in faults:
        print(fault, file=sys.stderr)
    return int(bool(faults))


async def loaded(server, truth: expected.Truth, options: argparse.Namespace) -> tuple[dict, list]:
    """Figures, and what was wrong."""
    until = time.monotonic() + options.seconds
    count = clients.Count()
    url, rng = server.url("", "ws"), random.Random(options.seed)
    works = [
        clients.listen(url, truth, random.Random(rng.random()), until, count)
        for _ in range(options.listeners)
    ]
    works += [
        clients.speak(url, truth, random.Random(rng.random()), until, count)
        for _ in range(options.speakers)
    ]
    memory: list[float] = []
    watching = asyncio.ensure_future(watch(server, options.seconds / _SAMPLES, memory))
    await asyncio.gather(*works)
    watching.cancel()
    faults = list(count.faults)
    if left := await slots_in_use(server):
        faults.append(f"{left} slots are still in use")
    fifth = max(1, len(memory) // 5)
    second, last = min(memory[fifth : 2 * fifth] or memory), min(memory[-fifth:])
    if last > 1.1 * second + 20:
        faults.append(f"memory grew from {second:.0f} to {last:.0f} MB")
    figures = {
        "seconds": options.seconds,
        "clients": options.listeners + options.speakers,
        "sessions": dict(count.done),
        "words as alone": count.words,
        "frames of speech as alone": count.frames,
        "resident MB, second and last fifth": [second, last],
        "faults": len(faults),
    }
    return figures, faults


async def watch(server, every: float, memory: list[float]) -> None:
    while True:
        memory.append(server.memory / 1e6)
        await asyncio.sleep(every)


async def slots_in_use(server) -> int:
    """After those who have gone have had time to be noticed."""
    for _ in range(100):
        url = server.url("/api/modules_info")
        with await asyncio.to_thread(urllib.request.urlopen, url) as answer:
            used = sum(int(module["used_slots"]) for module in json.load(answer))
        if not used:
            return 0
        await asyncio.sleep(0.1)
    return used


if __name__ == "__main__":
    sys.exit(main())
