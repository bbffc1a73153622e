"""Text to speech: a stream that speaks on and on, and its parts by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from benchmark import models
from benchmark.alone import run_alone
from dsm_mlx.tts.engine import Batch
from dsm_mlx.tts.step import UNGENERATED, TtsStep

_VOICES = 5 * 125  # positions that a model with voices attends to
_TABLES = ("audio_emb", "text_emb.table", "condition_provider", "depformer")


class Endless:
    """Stands for a script: takes every token the model offers and never ends."""

    done = blocked = False

    def __init__(self, step: TtsStep):
        self._delay, self._longest, self._step = step.delay_steps, step.longest, 0

    @property
    def needs_depth(self) -> bool:
        return self._step >= self._delay

    @property
    def sounds(self) -> bool:
        return self._step >= self._delay + self._longest

    def forced(self) -> None:
        return None

    def take(self, token: int) -> int:
        self._step += 1
        return token

    def deliver(self, sound: np.ndarray) -> np.ndarray:
        return sound


@dataclass
class Speaker:
    """A model that can be run."""

    step: TtsStep

    @classmethod
    def random(cls, name: str, *how) -> Speaker:
        """how: bits, dtype and cache, as for `load_tts`."""
        lm = models.random_lm(name, *how)
        mimi = models.random_mimi(lm.config.dep_q, encoder=False)
        delay = models.config(name).section("tts_config").get("audio_delay", float)
        return cls(TtsStep(lm, mimi, round(delay * mimi.config.frame_rate)))

    @classmethod
    def load(cls, model: str, bits, dtype, cache) -> Speaker:
        from dsm_mlx import load_tts

        return cls(load_tts(model, bits=bits, dtype=dtype, cache=cache)._step)

    @property
    def frame_rate(self) -> float:
        return self.step.mimi.config.frame_rate

    @property
    def warm(self) -> int:
        """Steps until every part of a step runs."""
        return self.step.delay_steps + self.step.longest + 3

    def stream(self, rows: int) -> Stream:
        return Stream(self, rows)

    def conditions(self) -> dict:
        """Of one row, at temperature 0.6; where the model takes voices, of any values."""
        lm = self.step.lm
        config = lm.config.conditioners
        conditions = {"temperature": mx.array([0.6]), "padding_bonus": mx.array([0.0])}
        if config.sum:
            conditions["sum"] = mx.zeros((1, 1, lm.config.dim))
        if config.cross:
            source = mx.random.normal((1, _VOICES, lm.config.dim))
            conditions["cross"] = lm.keys_values(source)
        return conditions

    def bytes_per_step(self, rows: int) -> int:
        """What one step has to read: weights as often as they are used, caches of each row."""
        lm, mimi = self.step.lm, self.step.mimi
        weights = models.size(lm, skip=_TABLES) + models.size(mimi) + _depth_size(lm.depformer)
        caches = models.state_size((self.step.init_state(1, False), self.conditions()))
        return weights + rows * caches

    def parts(self, frames: int) -> dict[str, dict]:
        """Milliseconds of the main model, the depth decoder and the codec, one row."""
        step, conditions = self.step, self.conditions()
        state = step.init_state(1, False)
        text = mx.zeros((1,), mx.int32)
        forced = mx.full((1, step.codebooks), UNGENERATED, mx.int32)
        heard, _, _ = step.sample_text(state["row"], state["lm"], conditions)
        mx.eval(heard, conditions, state)

        def listen(_, lm):
            heard, _, lm = step.sample_text(state["row"], lm, conditions)
            return heard, lm

        def speak(_, row):
            return step.sample_audio(row, heard, text, forced, conditions)

        codes = mx.zeros((1, step.codebooks, 1), mx.int32)
        return {
            "main model": run_alone(listen, None, step.init_state(1, False)["lm"], frames),
            "depth decoder": run_alone(speak, None, state["row"], frames),
            "codec": run_alone(step.decode, codes, state["decoder"], frames),
        }


class Stream:
    """Batch that speak: the sound of each frame is there before the next is begun."""

    def __init__(self, speaker: Speaker, rows: int):
        step = speaker.step
        self._rows = Batch(step, rows)
        for row in range(rows):
            state, conditions = step.init_state(1, False), speaker.conditions()
            self._rows.join(row, Endless(step), state, conditions)

    def run(self, frames: int) -> Iterator[float]:
        """Make `frames` steps; yields the seconds of each."""
        for _ in range(frames):
            start = time.perf_counter()
            self._rows.run()
            yield time.perf_counter() - start

    def close(self) -> None:
        self._rows.close()


def _depth_size(depth) -> int:
    """Bytes that a frame reads: a weight set once for each codebook that uses it."""
    projections = models.size(depth.linear_in) + sum(map(models.size, depth.linear_out))
    for layer in depth.layers:
        for weights in depth.config.schedule:
            attention = layer.self_attn
            used = layer.gating[weights], attention.in_proj[weights], attention.out_proj[weights]
            projections += sum(map(models.size, used))
    return projections
