"""The tool that puts load on a server: a short form, and what it says of a server that is wrong."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from loading import clients, expected
from serving import Served

LOAD = Path(__file__).parents[1] / "tools/load.py"
SECONDS = os.environ.get("DSM_MLX_LOAD", "8")


@pytest.mark.thorough
def test_a_server_under_load_is_right_and_stays_as_it_is():
    command = [sys.executable, LOAD, "--seconds", SECONDS, "--listeners", "12", "--speakers", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 + float(SECONDS))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.strip().rsplit("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    counts = {name.strip(): value for name, value in lines.items()}
    assert int(counts["words as alone"]) > 50 and int(counts["frames of speech as alone"]) > 20
    assert counts["faults"].strip() == "0"


@pytest.mark.thorough
def test_what_is_wrong_is_seen(tmp_path):
    """With other words and another sound expected than there are."""
    truth = expected.make(tmp_path)
    sounds = [(pcm, [*words, ("never", 9.0)]) for pcm, words in truth.sounds]
    wrong = replace(truth, sounds=sounds, said=dict.fromkeys(truth.said, (1, 0.0)))

    async def play(url):
        import random
        import time

        until = time.monotonic() + 3
        await asyncio.gather(
            clients.listen(url, wrong, random.Random(1), until, count),
            clients.speak(url, wrong, random.Random(1), until, count),
        )

    count = clients.Count()
    with Served(stt=str(truth.stt), tts=str(truth.tts)) as server:
        asyncio.run(play(server.url("", "ws")))
    assert any(fault.startswith("heard ") for fault in count.faults)
    assert any(fault.startswith("said ") for fault in count.faults)
    assert json.dumps(count.faults)
