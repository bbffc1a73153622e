"""Our figures and another library's, on the same weights, in turns: A B A B."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten

from benchmark import models
from benchmark.statistics import quantile
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.files import weight_map
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.runtime import blas

_HERE = Path(__file__).parent
_WARM = 10


def compare(name: str, python: str, frames: int, cache: str | None, say) -> dict:
    """`name` is an official shape, for its language model's step, or "mimi" for both halves.

    python: the interpreter that has moshi_mlx. cache: how ours keeps keys and values.
    """
    parts = ["encode", "decode"] if name == "mimi" else [name.split("-")[0]]
    with tempfile.TemporaryDirectory() as folder:
        say(f"writing random weights: {name}")
        _write(name, Path(folder))
        job = {"folder": folder, "frames": frames, "warm": _WARM, "cache": cache}
        return {part: _in_turns(job | {"part": part}, python, say) for part in parts}


def _write(name: str, folder: Path) -> None:
    if name == "mimi":
        model = models.plain_mimi()
        layout, file = codec_layout.pytorch(model), "mimi.safetensors"
    else:
        model = models.random_lm(name, None, "bfloat16")
        layout, file = lm_layout.layout_of(model, "pytorch"), "model.safetensors"
        (folder / "config.json").write_text(json.dumps(models.config(name).values))
    tensors = weight_map.save(layout, dict(tree_flatten(model.parameters())))
    mx.save_safetensors(str(folder / file), {k: mx.contiguous(v) for k, v in tensors.items()})


def _in_turns(job: dict, python: str, say) -> dict:
    runs: dict[str, list[dict]] = {"dsm_mlx": [], "moshi_mlx": []}
    for library in ("dsm_mlx", "moshi_mlx") * 2:
        say(f"{job['part']}: {library}")
        command = {
            "dsm_mlx": [sys.executable, "-m", "benchmark.ours"],
            "moshi_mlx": [python, str(_HERE / "theirs.py")],
        }[library]
        runs[library].append(_run([*command, json.dumps(job)]))
    ours, theirs = (_together(runs[library]) for library in runs)
    return {
        "dsm_mlx": ours,
        "moshi_mlx": theirs,
        "times as fast": theirs["frame ms"] / ours["frame ms"],
        "times as fast, undisturbed": theirs["undisturbed ms"] / ours["undisturbed ms"],
        "share of its peak memory": ours["peak MB"] / theirs["peak MB"],
    }


def _run(command: list[str]) -> dict:
    environment = os.environ | _same_blas() | {"PYTHONPATH": str(_HERE.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _same_blas() -> dict[str, str]:
    """What gives both libraries the BLAS of this process."""
    library = blas.library()
    return {"LD_PRELOAD": library} | blas.settings() if library else {}


def _together(runs: list[dict]) -> dict:
    times = [ms for run in runs for ms in run["ms"]]
    return {
        "frame ms": quantile(times, 0.5),
        "undisturbed ms": quantile(times, 0.05),  # when other programs left the machine alone
        "peak MB": max(run["peak MB"] for run in runs),
    }
