"""The benchmark runs and says what it should; its figures are not judged here."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mlx.core as mx
import pytest
from benchmark import live, lockstep, run
from benchmark.graph import compiled_kernels
from benchmark.live import Load
from test_schedule import Adding, Clock, Counted

from dsm_mlx.runtime import blas

BENCH = Path(__file__).parents[1] / "tools/bench.py"


def bench(*arguments, status=0, path=None):
    """path: of modules that stand for others."""
    paths = filter(None, (path and str(path), os.environ.get("PYTHONPATH")))
    done = subprocess.run(
        [sys.executable, BENCH, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
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
    assert result["blas"] == blas.name()
    assert result["import seconds"] > 0 < result["bandwidth GB/s"]
    assert all(part["median"] > 0 for part in result["parts, ms"].values())
    assert "2 rows, 2 frames" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["stt-tiny", "tts-tiny"])
def test_a_soak_as_others_join_and_leave(small, name):
    done = bench(small(name), "--soak", 0.005, "--json")
    result = json.loads(done.stdout)["soak"]
    assert result["joins"] == 3 * result["frames"] / 60 == 12
    assert result["active bytes left behind"] == 0
    assert len(result["frame ms beside 3 others, first and last fifth"]) == 2
    assert "soak: 0.01 of 0.005 hours" in done.stderr


def test_streams_that_joined_one_by_one(small):
    result = json.loads(bench(small("stt-tiny"), "--together", 4, "--frames", 5, "--json").stdout)
    figures = result["together"]
    one, four = (figures[f"{who}: frame ms, CPU time"] for who in ("one stream", "4 streams"))
    share = figures["share of the CPU time of 4 by themselves"]
    assert share == pytest.approx(four / (4 * one)) and share > 0


@pytest.mark.thorough
def test_streams_recordings_and_voices_beside_each_other(small):
    args = "--live", 2, "--files", 2, "--voices", 1, "--tts", small("tts-tiny")
    result = json.loads(bench(small("stt-tiny"), *args, "--seconds", 2, "--json").stdout)
    others = result["cores that other programs took"]
    assert set(others) >= {"1 live", "2 live", "2 recordings"}
    if Path("/proc/stat").exists():
        assert all(len(rounds) == 2 for rounds in others.values())
    waits = result["live frames, from when they were due"]
    one, whole = waits["one stream, ms"], waits["2 live + 2 recordings + 1 voices, ms"]
    assert 0 < whole["median"] <= whole["p95"] <= whole["max"]
    assert waits["p95, times one stream's"] == pytest.approx(whole["p95"] / one["p95"])
    files = result["recordings, frames a second"]
    assert files["2 recordings"] > 0 < files["2 live + 2 recordings + 1 voices"]
    voices = result["voices"]
    assert set(voices) == {"1 voices", "2 live + 2 recordings + 1 voices"}
    assert all(figures["chunks"] > 10 for figures in voices.values())


@pytest.mark.thorough
def test_voices_alone_need_no_listener(small):
    result = json.loads(bench(small("tts-tiny"), "--voices", 1, "--seconds", 2, "--json").stdout)
    assert result["voices"]["1 voices"]["chunks"] > 10 and "live frames" not in str(result)


class Slow:
    """Stands for a model, each of whose frames takes `seconds` to hear."""

    sample_rate, frame_rate = 24000, 12.5

    def __init__(self, seconds):
        self.seconds, self.heard = seconds, 0

    def stream(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def feed(self, pcm):
        assert pcm.shape == (1920,)
        self.heard += 1
        time.sleep(self.seconds)

    def close(self):
        pass


@pytest.mark.thorough
def test_a_stream_that_falls_behind_is_seen():
    """Each frame takes twice as long as it lasts, so that the wait grows by 80 ms with each; frames
    that were never begun count for as long as they have waited."""
    slow = Slow(0.16)
    figures = live.measure(live.Loads(slow, None), Load(live=1), 4.0, lambda text: None)
    waits = figures["live frames, from when they were due"]["one stream, ms"]
    assert slow.heard < 35
    assert waits["median"] > 700 and waits["max"] > 900


@pytest.mark.thorough
def test_a_stream_that_keeps_up_waits_for_its_own_frame():
    figures = live.measure(live.Loads(Slow(0.01), None), Load(live=1), 2.0, lambda text: None)
    waits = figures["live frames, from when they were due"]["one stream, ms"]
    assert 10 <= waits["median"] < 60


class Growing(Counted):
    """Counts, and keeps something of every frame."""

    kept: list = []  # noqa: RUF012

    def give(self, frames):
        self.frames += frames
        self.kept.append(mx.zeros(10_000) + 1)
        mx.eval(self.kept[-1])

    @property
    def resting(self):
        return not self.frames


class Subject:
    frame_rate, frames_to_warm = 12.5, 1

    def __init__(self, kind):
        self._kind, self.rows = kind, []

    def lockstep(self, rows):
        return lockstep.Lockstep(Adding(Clock()), "made up", rows)

    def session(self, number):
        return self._kind()


def test_a_soak_sees_memory_that_grows():
    figures, seconds = run.soak(Subject(Growing), 0.02, lambda text: None)
    assert figures["active bytes left behind"] > 900 * 40_000
    first, last = figures["active MB, first and last fifth"]
    assert last > first
    assert len(seconds) == figures["frames"] == 900


def test_a_session_that_fails_ends_the_measuring():
    together = lockstep.Lockstep(Adding(Clock(), lambda rows: 1 / 0), "made up", 1)
    together.join(Growing())
    with pytest.raises(RuntimeError, match="made up: a step failed"):
        together.run()


@pytest.mark.thorough
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
        (["tiny", "--soak", "0"], 2),
        (["tiny", "--soak", "-1"], 2),
        (["tiny", "--soak", "nan"], 2),
        (["tiny", "--soak", "inf"], 2),
        (["--random", "stt-1b", "--against", "moshi_mlx", "--peer-python", "x", "--soak", "1"], 2),
        (["--random", "stt-1b", "--against", "moshi_mlx", "--peer-python", "x", "--plot", "x"], 2),
        (["--random", "stt-small", "--against", "rustymimi", "--peer-python", "x"], 2),
        (["--random", "tts-1.6b", "--against", "moshi", "--peer-python", "x"], 2),
        (["--random", "mimi", "--against", "nobody", "--peer-python", "x"], 2),
        (["tiny", "--against", "moshi_mlx", "--peer-python", "x"], 2),
        (["tiny", "--live", "0"], 2),
        (["tiny", "--together", "-1"], 2),
        (["tiny", "--together", "2", "--soak", "1"], 2),
        (["tiny", "--live", "1", "--seconds", "nan"], 2),
        (["tiny", "--live", "1", "--soak", "1"], 2),
        (["--random", "stt-small", "--files", "1"], 2),
        (["/no/such/folder"], 1),
        (["/no/such/folder", "--live", "1"], 1),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments, status):
    done = bench(*arguments, status=status)
    assert "Traceback" not in done.stderr and done.stderr.strip()


MATPLOTLIB = """
class Figure:
    def __init__(self, **_):
        self.canvas = self
    def get_supported_filetypes(self):
        return {"png": "Portable Network Graphics"}
    def add_subplot(self):
        return self
    def plot(self, values, *_, **__):
        self.count = len(values)
    def set(self, **_):
        pass
    def savefig(self, path, **_):
        if "broken" in path.name:
            raise OSError(28, "No space left on device", str(path))
        open(path, "w").write(str(self.count))
"""


@pytest.fixture
def matplotlib(tmp_path):
    """A folder with what stands for matplotlib, which is not needed to test with."""
    package = tmp_path / "modules/matplotlib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "figure.py").write_text(MATPLOTLIB)
    return package.parent


def test_a_plot(checkpoint, matplotlib, tmp_path):
    args = checkpoint("stt-tiny"), "--frames", 3, "--plot", tmp_path / "plot"
    assert "frame ms" in bench(*args, path=matplotlib).stdout
    assert (tmp_path / "plot.png").read_text() == "3"


def test_a_plot_that_fails_in_the_end_loses_nothing(checkpoint, matplotlib, tmp_path):
    args = checkpoint("stt-tiny"), "--frames", 3, "--plot", tmp_path / "broken.png"
    done = bench(*args, status=1, path=matplotlib)
    assert "frame ms" in done.stdout and "No space left" in done.stderr


@pytest.mark.parametrize(
    "file, message",
    [
        ("missing/plot.png", "there is no folder"),
        ("plot.txt", "expected png"),
        ("folder.png", "it is a folder"),
        ("folder", "folder.png: cannot be written (it is a folder"),
    ],
)
def test_a_plot_that_cannot_be_is_said_first(file, message, matplotlib, tmp_path):
    (tmp_path / "folder.png").mkdir()
    done = bench("tiny", "--plot", tmp_path / file, status=1, path=matplotlib)
    assert done.stderr.startswith(f"error: --plot {tmp_path / file}") and message in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout  # nothing was begun


def test_without_matplotlib_that_is_said_first(matplotlib, tmp_path):
    (matplotlib / "matplotlib/figure.py").write_text("raise ImportError")
    done = bench("tiny", "--plot", tmp_path / "plot.png", status=1, path=matplotlib)
    assert done.stderr == "error: --plot needs matplotlib (pip install matplotlib)\n"


def test_what_is_measured_is_shown_if_more_fails(checkpoint, tmp_path):
    """A name that another process, which is timed from its start, does not find."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import bench, benchmark.latency as latency\n"
        "latency._FIRST_WORD = 'raise SystemExit(\"it broke\")'\n"
        "sys.exit(bench.main(sys.argv[2:]))"
    )
    args = BENCH.parent, checkpoint("stt-tiny"), "--frames", 2, "--cold", "--json"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "error: it broke"
    assert json.loads(done.stdout)["rows 1"]["frame ms"]["median"] > 0


def test_kernels_are_not_counted_where_none_is_fused(tmp_path, monkeypatch):
    if mx.default_device().type == mx.DeviceType.gpu:
        pytest.skip("a GPU needs no compiler of the system's")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match=r"needs g\+\+"):
        compiled_kernels(mx.exp, mx.zeros((2,)))
