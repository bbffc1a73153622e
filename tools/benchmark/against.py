"""Our figures and another library's, on the same weights, in turns: A B A B."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from benchmark import models
from benchmark.agreement import agreement
from benchmark.jobs import CODEC, LM, SETTINGS, Job
from benchmark.statistics import quantile
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.files import weight_map
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.runtime import blas
from dsm_mlx.runtime.device import on_cpu

_TOOLS = str(Path(__file__).parents[1])
_WARM = 10
_ROUNDS = 2
_OURS = "dsm_mlx"


@dataclass(frozen=True)
class Peer:
    """Another library, whose worker is the module of its name in `peers`.

    on_mlx: whether it computes with MLX, and so with the same BLAS as ours and in the layout that
    its matrices are given.
    speaks_text: whether it has language models, and not the codec alone.
    corrected: what is mended in its codec before its results are compared, but not in its times.
    """

    on_mlx: bool = False
    speaks_text: bool = True
    corrected: str | None = None
    environment: dict[str, str] = field(default_factory=dict)


PEERS = {
    "moshi_mlx": Peer(on_mlx=True, corrected="mask within a frame, exact GELU"),
    "rustymimi": Peer(speaks_text=False),
    "moshi": Peer(environment={"NO_TORCH_COMPILE": "1"}),
}


def unfit(name: str, shape: str) -> str | None:
    """What is wrong with comparing with the peer `name` at this shape, or "mimi"; None: nothing."""
    if shape == "mimi":
        return None
    if not PEERS[name].speaks_text:
        return f"--against {name} needs --random mimi"
    if name == "moshi" and models.config(shape).values["conditioners"]:
        return f"--against moshi goes without {shape} (expected a shape without conditioners)"
    return None


def compare(
    shape: str, name: str, python: str, frames: int, cache: str | None, say: Callable[[str], None]
) -> dict:
    """Figures of an official shape, of its language model's step, or of "mimi", both halves.

    name: one of PEERS. python: the interpreter that has it. cache: how ours keeps keys and values.
    ValueError where it is not there, or says something else than ours.
    """
    _check_installed(name, python)
    parts = ["encode", "decode"] if shape == "mimi" else [shape.split("-")[0]]
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing random weights: {shape}")
        listens_to = _write(shape, Path(folder))
        jobs = [Job(folder, part, frames, _WARM, _cores(), cache) for part in parts]
        known: dict = {"cores": _cores(), "BLAS": _blas() if on_cpu() else None}
        for job in jobs:
            job.give(listens_to)
            known[job.part] = in_turns(job, name, python, say)
    return known


def _check_installed(name: str, python: str) -> None:
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is None)"
    try:
        status = subprocess.run([python, "-c", code], env=_environment(PEERS[name]), check=False)
    except OSError as error:
        raise ValueError(f"{python}: cannot be run ({error.strerror})") from None
    if status.returncode:
        raise ValueError(f"{name} is not installed in {python}")


def _write(shape: str, folder: Path) -> int:
    """Random weights as official files have them; how many codebooks a language model hears."""
    if shape == "mimi":
        model, listens_to = models.plain_mimi(), 0
        layout, file = codec_layout.pytorch(model), CODEC
    else:
        model = models.random_lm(shape, None, "bfloat16")
        layout, file = lm_layout.layout_of(model, "pytorch"), LM
        listens_to = model.config.n_q - model.config.dep_q
        (folder / SETTINGS).write_text(json.dumps(models.config(shape).values))
    tensors = weight_map.save(layout, dict(tree_flatten(model.parameters())))
    mx.save_safetensors(str(folder / file), {k: mx.contiguous(v) for k, v in tensors.items()})
    return listens_to


def _workers(job: Job, name: str, python: str) -> dict[str, tuple[list[str], Job]]:
    """Commands and jobs by what they are called, ours first."""
    theirs = [python, "-m", f"benchmark.peers.{name}"]
    workers = {_OURS: ([sys.executable, "-m", "benchmark.ours"], job), name: (theirs, job)}
    if PEERS[name].on_mlx and on_cpu():
        workers[f"{name}, same layout"] = theirs, replace(job, turned=True)
    return workers


def in_turns(job: Job, name: str, python: str, say: Callable[[str], None]) -> dict:
    """Figures of a part: each worker has a process of its own, one after another, and again."""
    workers = _workers(job, name, python)
    runs: dict[str, list[dict]] = {worker: [] for worker in workers}
    for worker in list(workers) * _ROUNDS:
        say(f"{job.part}: {worker}")
        command, what = workers[worker]
        peer = None if worker == _OURS else PEERS[name]
        told = run([*command, what.command()], _environment(peer))
        if worker != _OURS:
            agreed = agreement(job.part, worker, runs[_OURS][0]["said"], told["said"])
        runs[worker].append(told)
    if job.of_codec:
        agreed = agreed | {"corrected for this, not for its times": PEERS[name].corrected}
    return figures(runs, PEERS[name].on_mlx) | agreed


def figures(runs: dict[str, list[dict]], on_mlx: bool) -> dict:
    """What the runs of each worker told, together, and ours in proportion to the others'.

    runs: by what the workers are called: ours, the other library, and where there is one, that
    with its matrices laid out as ours. on_mlx: whether MLX tells the other's memory; if not, all
    are shown with that of their process.
    """
    memory = "peak MB" if on_mlx else "peak resident MB"
    found = {worker: _together(of, memory) for worker, of in runs.items()}
    ours, theirs, *turned = found.values()
    ratios = {}
    for label, other in zip(("", ", same layout"), (theirs, *turned), strict=False):
        for each, ms in (("", "frame ms"), (", undisturbed", "undisturbed ms")):
            ratios[f"times as fast{label}{each}"] = other[ms] / ours[ms]
    return found | ratios | {"share of its peak memory": ours[memory] / theirs[memory]}


def _together(runs: list[dict], memory: str) -> dict:
    times = [ms for run in runs for ms in run["ms"]]
    return {
        "versions": runs[0]["versions"],
        "frame ms": quantile(times, 0.5),
        "undisturbed ms": quantile(times, 0.05),  # when other programs left the machine alone
        memory: max(run[memory] for run in runs),
    }


def run(command: list[str], environment: dict[str, str]) -> dict:
    """What a worker tells (see `jobs.work`)."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise ValueError(f"{' '.join(command[:3])}: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def _environment(peer: Peer | None) -> dict[str, str]:
    """Of a worker of ours (None) or of a peer."""
    threads = dict.fromkeys(("OMP", "RAYON"), str(_cores()))
    environment = os.environ | {f"{name}_NUM_THREADS": count for name, count in threads.items()}
    if peer is None:
        paths = [_TOOLS, os.environ.get("PYTHONPATH")]
        return environment | _same_blas() | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if peer.on_mlx:
        environment |= _same_blas()
    else:
        environment.pop("LD_PRELOAD", None)  # a BLAS for MLX; the others bring one of their own
    return environment | {"PYTHONPATH": _TOOLS, **peer.environment}


def _same_blas() -> dict[str, str]:
    """What gives all that compute with MLX the BLAS of this process."""
    library = blas.library()
    if library is None:
        return {"DSM_MLX_BLAS": "0"}
    return {"LD_PRELOAD": library, **blas.settings()}


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _blas() -> str:
    if sys.platform == "darwin":
        return "Accelerate"
    return blas.name()
