"""One loop for every stage: a time budget, a log, checkpoints; it can be stopped anywhere."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from learn.corpus import batches
from learn.plan import Plan

_LOG_EVERY = 50  # steps
_SAVE_EVERY = 120.0  # seconds
_FLAT = 0.1  # of the steps are taken at the full learning rate: what is won shows while it falls
STATE = "state.pt"


class Stage(Protocol):
    """What is trained. `modules` and `optimizers` are all that a checkpoint holds."""

    steps: int
    modules: dict[str, torch.nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def batch(self, step: int) -> dict: ...  # arrays, a function of the step alone

    def update(self, step: int, batch: dict) -> dict[str, torch.Tensor]: ...  # losses to log

    def export(self, folder: Path) -> None: ...  # the official layout


class Log:
    """Lines on the terminal and in a file."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def __call__(self, line: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {line}"
        print(line, flush=True)
        with self._path.open("a") as file:
            file.write(line + "\n")


def train(stage: Stage, folder: Path, minutes: float, workers: int, log: Log) -> bool:
    """Go on with a stage for about `minutes`; returns whether all its steps are done.

    The state lies in folder/state.pt; the checkpoint itself is exported into `folder` with it.
    """
    end = time.monotonic() + 60 * minutes
    step, saved = restore(stage, folder), time.monotonic()
    log(f"from step {step} of {stage.steps}")
    sums: dict[str, torch.Tensor] = {}
    summed = 0
    for batch in batches(stage.batch, step, stage.steps, workers):
        seed(step)
        for name, value in stage.update(step, batch).items():
            sums[name] = sums.get(name, 0.0) + value.detach()
        step, summed = step + 1, summed + 1
        if step % _LOG_EVERY == 0:
            told = " ".join(f"{name} {float(v) / summed:.3f}" for name, v in sums.items())
            log(f"step {step}: {told}")
            sums, summed = {}, 0
        if time.monotonic() > end:
            break
        if time.monotonic() - saved > _SAVE_EVERY:
            save(stage, folder, step)
            saved = time.monotonic()
    save(stage, folder, step)
    stage.export(folder)
    log(f"stopped at step {step} of {stage.steps}, exported to {folder.name}")
    return step >= stage.steps


def seed(step: int) -> None:
    """Random numbers of a step depend on nothing but its number.

    moshi's quantiser draws from all three generators.
    """
    random.seed(step)
    np.random.seed(step)
    torch.manual_seed(step)


def schedule(step: int, steps: int, warm_up: int, flat: float = _FLAT) -> float:
    """Factor of the learning rate: up, flat, then down in a line to 3%."""
    down = min(1.0, (1 - step / steps) / (1 - flat))
    return min(1.0, (step + 1) / warm_up) * (0.03 + 0.97 * down)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("factor", 1.0)


def descend(
    stage: Stage, plan: Plan, step: int, loss: torch.Tensor, clip: float, flat: float = _FLAT
) -> torch.Tensor:
    """A step of the optimizer "adam" on all parameters that it has; the gradient's length."""
    adam = stage.optimizers["adam"]
    set_rate(adam, schedule(step, stage.steps, plan.warm_up, flat) * plan.learning_rate)
    adam.zero_grad(set_to_none=True)
    loss.backward()
    parameters = [p for group in adam.param_groups for p in group["params"]]
    length = torch.nn.utils.clip_grad_norm_(parameters, clip)
    adam.step()
    return length


def save(stage: Stage, folder: Path, step: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    state = {"step": step, "steps": stage.steps}
    for kind in ("modules", "optimizers"):
        state[kind] = {name: part.state_dict() for name, part in getattr(stage, kind).items()}
    draft = folder / f"{STATE}.partial"
    torch.save(state, draft)
    os.replace(draft, folder / STATE)
    (folder / "progress.json").write_text(json.dumps({"step": step, "steps": stage.steps}) + "\n")


def restore(stage: Stage, folder: Path) -> int:
    """The step to go on from: 0 if there is no state yet. ValueError if it is of another plan."""
    if not (folder / STATE).exists():
        return 0
    state = torch.load(folder / STATE, map_location="cpu", weights_only=True)
    if state["steps"] != stage.steps:
        raise ValueError(f"{folder}: was begun with {state['steps']} steps, not {stage.steps}")
    for kind in ("modules", "optimizers"):
        for name, part in getattr(stage, kind).items():
            part.load_state_dict(state[kind][name])
    return state["step"]
