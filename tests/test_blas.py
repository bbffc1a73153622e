"""The system's OpenBLAS in place of that of MLX's wheel: where it is loaded, and what comes out.

What comes out is skipped where the system has none (Debian's is libopenblas0-pthread).
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import STT, run
from test_exits import ENDING, FORKED_BEFORE, ran

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a Mac's own BLAS is fast")
OPENBLAS = "libopenblas.so.0"
OWN = "MLX's own"

NAME = """
import sys
from importlib import import_module

for module in sys.argv[1:]:
    import_module(module)
from dsm_mlx.runtime import blas

print(blas.name())
"""


def python(code, *args, **environment):
    """What a program prints; in its environment None takes a variable away."""
    changed = os.environ | environment
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={name: value for name, value in changed.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n"), done.stderr


def name(*modules, **environment):
    """The BLAS that a process has once it has imported the modules."""
    return python(NAME, *modules, **{"DSM_MLX_BLAS": None} | environment)[0]


@pytest.fixture(scope="module")
def openblas():
    if not name("dsm_mlx", "mlx.core").startswith("OpenBLAS"):
        pytest.skip("this system has no OpenBLAS")
    return OPENBLAS


def test_it_is_loaded_with_mlx_and_not_before(openblas):
    """Whether MLX is imported by a module of ours or by the program."""
    assert name("dsm_mlx", "dsm_mlx.results") == OWN
    assert name("dsm_mlx.codec.mimi").startswith("OpenBLAS")
    assert name("dsm_mlx", "mlx.core").startswith("OpenBLAS")


def test_mlx_computes_with_it(openblas):
    """As the linker tells, which says what it binds every name to."""
    for wanted, expected in (None, "libopenblas"), ("0", "libblas"):
        _, told = python("import dsm_mlx, mlx.core", DSM_MLX_BLAS=wanted, LD_DEBUG="bindings")
        told = told.splitlines()
        (bound,) = (line for line in told if "/libmlx.so" in line and "`cblas_sgemm'" in line)
        assert Path(bound.partition(" to ")[2].split()[0]).name.startswith(expected)


def test_it_is_too_late_once_mlx_is_imported():
    code = """
import logging
import mlx.core
logging.basicConfig(level=logging.DEBUG)
import dsm_mlx
"""
    for wanted, lines in (None, 1), ("0", 0):
        _, told = python(code, DSM_MLX_BLAS=wanted)
        assert told.count("mlx.core was imported before dsm_mlx") == len(told.splitlines()) == lines
    assert name("mlx.core", "dsm_mlx.codec.mimi") == OWN


def test_it_can_be_turned_off():
    assert name("dsm_mlx.codec.mimi", DSM_MLX_BLAS="0") == OWN


def test_another_one_can_be_named(openblas):
    assert name("dsm_mlx.codec.mimi", DSM_MLX_BLAS=OPENBLAS).startswith("OpenBLAS")


def test_one_that_was_preloaded_stays(openblas):
    assert name("dsm_mlx.codec.mimi", LD_PRELOAD=OPENBLAS) == "one that was preloaded"


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("missing.so", "No such file or directory"),
        (str(ROOT / "README.md"), "invalid ELF header"),
        ("libm.so.6", "it has no cblas_sgemm"),
    ],
)
def test_one_that_cannot_be_used_is_told_in_one_line(wanted, why):
    environment = os.environ | {"DSM_MLX_BLAS": wanted}
    status, out, err = run(STT, "--model", "tiny", "missing.wav", env=environment)
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert err.startswith(f"error: DSM_MLX_BLAS is {wanted} (expected 0 or the path of a BLAS): ")
    assert why in err
    assert run(STT, "--help", env=environment)[0] == 0


def test_it_takes_one_thread_unless_it_is_told(openblas):
    """And what it is told by is gone when it is there."""
    unset = dict.fromkeys(("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"))
    assert name("dsm_mlx.codec.mimi", **unset).endswith("threads: 1")
    two = min(2, len(os.sched_getaffinity(0)))
    for variable in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS":
        assert name("dsm_mlx.codec.mimi", **unset | {variable: "2"}).endswith(f"threads: {two}")
    code = "import os; told = dict(os.environ); import dsm_mlx.stt.model; print(told == os.environ)"
    assert python(code, **unset | {"DSM_MLX_BLAS": None})[0] == "True"


def test_kernels_suit_the_processor(openblas):
    """Haswell's where they run, even if the processor is younger than the library."""
    if not {"avx2", "fma"} <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("this processor has others")
    assert "Haswell" in name("dsm_mlx.codec.mimi", OPENBLAS_CORETYPE=None)
    assert "Sandybridge" in name("dsm_mlx.codec.mimi", OPENBLAS_CORETYPE="Sandybridge")


@pytest.mark.thorough
@pytest.mark.parametrize("recording", ["bus", "kitchen"])
def test_tiny_hears_the_same_words(openblas, recording):
    path = ROOT / f"demos/audio/{recording}.wav"
    for wanted in OPENBLAS, "0":
        environment = os.environ | {"DSM_MLX_BLAS": wanted}
        status, out, _ = run(STT, "--model", "tiny", path, env=environment)
        assert (status, out) == (0, path.with_suffix(".txt").read_text())


_SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("codec_golden", "tts_golden", "batch_property")
]


@pytest.mark.thorough
@pytest.mark.parametrize("file", ["lm_golden", *_SLOW])
def test_results_are_within_the_same_tolerance(openblas, file):
    """The suite's own tests: those of the reference as they are, those of batches by tokens."""
    environment = {"DSM_MLX_BLAS": OPENBLAS, "DSM_MLX_TOKENS": "1", "DSM_MLX_SEEDS": "40"}
    path, which = str(ROOT / f"tests/test_{file}.py"), ("-k", "not compiled")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-x", "-p", "no:cacheprovider", *which, path],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "\nBLAS: OpenBLAS" in done.stdout


@pytest.mark.thorough
def test_programs_end_and_fork_with_its_threads(openblas, small, monkeypatch):
    monkeypatch.setenv("DSM_MLX_BLAS", OPENBLAS)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    folders = small("stt-tiny"), small("tts-tiny")
    for seed in 1, 2, 4:
        assert ran(ENDING, *folders, seed, 7) == (7, "")
    status, said = ran(FORKED_BEFORE, *folders)
    assert status == 0 and len(said.splitlines()) == 2, said
