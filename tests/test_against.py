"""Comparisons with other libraries: whose turn it is, what makes them fair, what stops them.

PEER_PYTHON, a Python that has moshi_mlx, lets the last test compare with it.
"""

import json
import os
import sys

import numpy as np
import pytest
from benchmark import against, jobs
from benchmark.agreement import agreement
from benchmark.jobs import Job
from test_bench import bench

PEER = os.environ.get("PEER_PYTHON")


def job(part, folder="folder"):
    return Job(str(folder), part, frames=3, warm=2, cores=2)


def told(milliseconds, megabytes, said=((5,), (7,))):
    """What a worker says."""
    memory = {"peak MB": megabytes, "peak resident MB": 10 * megabytes}
    return {"ms": [milliseconds] * 3, "said": said, "versions": "1.0", **memory}


@pytest.fixture
def turns(monkeypatch):
    """The workers that were run, each a module's last name, its job and its environment."""
    seen = []
    times = {"ours": 2.0, "moshi_mlx": 8.0, "same layout": 3.0, "rustymimi": 1.0}

    def run(command, environment):
        name, what = command[2].rpartition(".")[2], json.loads(command[3])
        seen.append((name, what, environment))
        ms = times["same layout" if what["turned"] else name]
        return told(ms, ms, [[1.0], [2.0]] if what["part"] == "decode" else [[5], [7]])

    monkeypatch.setattr(against, "run", run)
    monkeypatch.setattr(against, "on_cpu", lambda: True)
    return seen


def test_three_take_turns_where_the_layout_is_told_apart(turns):
    found = against.in_turns(job("stt"), "moshi_mlx", "python", lambda text: None)
    order = [(name, what["turned"]) for name, what, _ in turns]
    assert order == [("ours", False), ("moshi_mlx", False), ("moshi_mlx", True)] * 2
    assert found["times as fast"] == found["times as fast, undisturbed"] == 4
    assert found["times as fast, same layout"] == 1.5
    assert found["share of its peak memory"] == 0.25
    assert found["the same text tokens"] == "2 of 2, in 2 frames"


def test_two_take_turns_where_there_is_no_layout_to_give(turns):
    found = against.in_turns(job("decode"), "rustymimi", "python", lambda text: None)
    assert [name for name, *_ in turns] == ["ours", "rustymimi"] * 2
    assert found["times as fast"] == 0.5 and "same layout" not in str(found)
    assert found["dsm_mlx"]["peak resident MB"] == 20 and "peak MB" not in found["dsm_mlx"]


@pytest.mark.parametrize("library", [None, "libopenblas.so.0"])
def test_both_have_the_same_blas_and_as_many_threads(turns, library, monkeypatch):
    monkeypatch.setattr(against.blas, "library", lambda: library)
    monkeypatch.setenv("LD_PRELOAD", "")
    against.in_turns(job("encode"), "moshi_mlx", "python", lambda text: None)
    against.in_turns(job("encode"), "rustymimi", "python", lambda text: None)
    environments = {name: environment for name, _, environment in turns}
    for name in ("ours", "moshi_mlx"):
        found = environments[name]
        assert found["LD_PRELOAD"] == (library or "")
        assert found["DSM_MLX_BLAS" if library is None else "OPENBLAS_NUM_THREADS"] in "01"
    assert "LD_PRELOAD" not in environments["rustymimi"]
    assert len({e["RAYON_NUM_THREADS"] for e in environments.values()}) == 1
    assert environments["ours"]["OMP_NUM_THREADS"] == environments["moshi_mlx"]["OMP_NUM_THREADS"]


def test_another_token_stops_a_comparison(monkeypatch):
    answers = iter([told(1, 1), told(1, 1, [[5], [8]])])
    monkeypatch.setattr(against, "run", lambda *_: next(answers))
    with pytest.raises(ValueError, match="moshi computes something else: 1 of 2 text tokens"):
        against.in_turns(job("stt"), "moshi", "python", lambda text: None)


@pytest.mark.parametrize("off, fine", [(1e-5, True), (0.01, False), (np.nan, False)])
def test_samples_agree_within_a_tolerance(off, fine):
    ours = [[0.5, -2.0], [0.1, 0.2]]
    theirs = [[0.5, -2.0], [0.1 + 2 * off, 0.2]]
    if fine:
        found = agreement("decode", "peer", ours, theirs)
        assert found["largest difference of samples"] == pytest.approx(off)
    else:
        with pytest.raises(ValueError, match="decode: peer computes something else"):
            agreement("decode", "peer", ours, theirs)


def test_fewer_codebooks_are_no_agreement():
    with pytest.raises(ValueError, match=r"encode: peer gives \(1, 1\) values, dsm_mlx \(1, 2\)"):
        agreement("encode", "peer", [[1, 2]], [[1]])


@pytest.mark.parametrize(
    "part, shape",
    [("stt", (1, 4)), ("tts", (1, 4)), ("encode", (1, 1920)), ("decode", (1, 32, 1))],
)
def test_all_are_given_the_same_frames(part, shape, tmp_path):
    frames = []
    for _ in range(2):
        job(part, tmp_path).give(listens_to=4)
        frames.append(job(part, tmp_path).given())
    assert frames[0].shape == (5, *shape) and (frames[0] == frames[1]).all()
    assert (frames[0][0] != frames[0][1]).any()


def test_what_is_compared_is_not_what_is_timed(capsys):
    begun = []

    def steps(checked):
        begun.append(checked)
        for number in range(100):
            yield np.array([number if checked else -1])

    jobs.work(job("stt"), steps, ("numpy",), lambda: 3_000_000)
    printed = json.loads(capsys.readouterr().out)
    assert begun == [True, False] and printed["said"] == [[0], [1]]
    assert len(printed["ms"]) == 3 and printed["peak MB"] == 3 < printed["peak resident MB"]
    assert printed["versions"] == f"numpy {np.__version__}"


@pytest.mark.parametrize(
    "python, message",
    [
        (sys.executable, f"rustymimi is not installed in {sys.executable}"),
        ("/no/python", "/no/python: cannot be run (No such file or directory)"),
    ],
)
def test_a_library_that_is_not_there_is_named(python, message):
    args = "--random", "mimi", "--against", "rustymimi", "--peer-python", python
    assert bench(*args, status=1).stderr == f"error: {message}\n"


@pytest.mark.skipif(not PEER, reason="PEER_PYTHON names no Python with moshi_mlx")
def test_moshi_mlx_says_the_same():
    done = bench("--random", "stt-small", "--against", "moshi_mlx", "--frames", 2, "--json")
    assert json.loads(done.stdout)["stt"]["the same text tokens"].startswith("10 of 10")
