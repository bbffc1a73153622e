"""The benchmark runs and says what it should; its figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "tools/bench.py"


def bench(*arguments, status=0):
    done = subprocess.run(
        [sys.executable, BENCH, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.mark.parametrize("name", ["stt-tiny", "tts-tiny"])
def test_a_checkpoint_in_figures(checkpoint, name):
    done = bench(checkpoint(name), "--frames", 2, "--rows", 1, 2, "--json")
    result = json.loads(done.stdout)
    for rows in (1, 2):
        figures = result[f"rows {rows}"]
        times = figures["frame ms"]
        assert 0 < times["median"] <= times["p95"] <= times["max"]
        assert figures["real-time factor"] == pytest.approx(times["median"] / 80)
        assert figures["peak MB"] >= figures["active MB"] > 0
        assert figures["MB read per step"] > 0 < figures["share of bandwidth"]
    assert result["rows 2"]["MB read per step"] < 2 * result["rows 1"]["MB read per step"]
    assert result["import seconds"] > 0 < result["bandwidth GB/s"]
    assert all(part["median"] > 0 for part in result["parts, ms"].values())
    assert "2 rows, 2 frames" in done.stderr


def test_a_soak_as_a_table(checkpoint):
    done = bench(checkpoint("stt-tiny"), "--soak", 0.001)
    assert "frame ms, first and last fifth" in done.stdout
    assert "soak: 0.00 of 0.001 hours" in done.stderr


def test_random_weights_of_an_official_shape():
    shapes = BENCH.parent / "benchmark/shapes"
    assert {path.stem for path in shapes.glob("*.json")} >= {"stt-1b", "tts-1.6b"}
    result = json.loads(bench("--random", "stt-small", "--bits", 4, "--frames", 1, "--json").stdout)
    assert result["model"] == "random stt-small" and result["bits"] == 4


@pytest.mark.parametrize(
    "arguments, status",
    [
        ([], 2),
        (["tiny", "--random", "stt-1b"], 2),
        (["--random", "mimi"], 2),
        (["tiny", "--frames", "0"], 2),
        (["/no/such/folder"], 1),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments, status):
    done = bench(*arguments, status=status)
    assert "Traceback" not in done.stderr and done.stderr.strip()
