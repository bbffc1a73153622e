"""Speech to text: sessions that hear noise, and the parts of a step by themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import numpy as np

from benchmark import models
from benchmark.alone import run_alone
from benchmark.lockstep import Lockstep
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.device import compiled
from dsm_mlx.runtime.worker import complete
from dsm_mlx.stt.clock import Timing
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.frame import SttFrames
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import SttStep

_TABLES = ("audio_emb", "text_emb", "condition_provider")


class Letters:
    """Stands for the tokenizer, which random weights have not: every token is a word."""

    def id_to_piece(self, token: int) -> str:
        return "\u2581x"

    def decode(self, tokens: list[int]) -> str:
        return "x" * len(tokens)


class Noise(Session):
    """A session that hears noise, and whose events are taken at once."""

    def __init__(self, start: Callable[[], dict], timing: Timing, seed: int, live: bool):
        super().__init__(start(), Letters(), timing, afresh=start, live=live)
        self._random = np.random.default_rng(seed)

    def give(self, frames: int) -> None:
        self.take_events()
        noise = self._random.standard_normal(frames * self.timing.frame_size, np.float32)
        self.feed(0.1 * noise)

    @property
    def resting(self) -> bool:
        return self.idle


def timing_of(step: SttStep) -> Timing:
    """The clock of a model without a name, which writes words half a second late."""
    config, heads = step.mimi.config, step.lm.config.extra_heads > 0
    return Timing(config.sample_rate, config.frame_rate, config.frame_size, 6, 0, heads)


@dataclass
class Listener:
    """A model that can be run: the step, the clock, and what its rows begin with.

    frames_to_warm: steps until all is as it will stay.
    """

    step: SttStep
    timing: Timing
    start: Callable[[], dict]
    frames_to_warm = 3

    @classmethod
    def random(cls, name: str, *how) -> Listener:
        """how: bits, dtype and cache, as for `load_stt`."""
        lm = models.random_lm(name, *how)
        mimi = models.random_mimi(lm.config.n_q, decoder=False)
        step = SttStep(lm, mimi)
        beginning = step.shortened(step.beginning())
        return cls(step, timing_of(step), lambda: step.lengthened(beginning))

    @classmethod
    def load(cls, model: str, bits, dtype, cache) -> Listener:
        checkpoint = Checkpoint.find(model, "stt")
        core = complete(SttCore.load(checkpoint, LoadOptions(bits, dtype, cache)))
        delay = core.config.delay
        return cls(core.step, core.timing(delay), lambda: core.beginning(delay, 0.0, 0))

    @property
    def frame_rate(self) -> float:
        return self.timing.frame_rate

    def lockstep(self, rows: int) -> Lockstep:
        """An empty batch of up to `rows` sessions."""
        return Lockstep(SttFrames(self.step, "speech to text"), "speech to text", rows)

    def session(self, number: int, *, live: bool = True) -> Noise:
        """One more session; each number hears other noise."""
        return Noise(self.start, self.timing, number, live)

    def figures(self, rows: int, frames: int, _begin: list[float]) -> dict:
        """Milliseconds of each frame when they are all there at once, as in a file."""
        together = self.lockstep(rows)
        for number in range(rows):
            together.join(self.session(number, live=False))
        together.run(self.frames_to_warm)
        seconds = together.run(frames)
        together.close()
        return {"recording: frame ms": 1e3 * seconds / frames}

    def bytes_per_step(self, rows: int, positions: int | None = None) -> int:
        """What one step has to read."""
        return bytes_per_step(self.step, self.start(), rows, positions)

    def parts(self, frames: int) -> dict[str, dict]:
        """Milliseconds of the codec and of the language model, one row: with its ring full, and
        while that is hardly filled."""
        lm, mimi = self.step.lm, self.step.mimi
        pcm = mx.random.normal((1, mimi.config.frame_size)) * 0.1
        codes = mx.zeros((1, lm.config.n_q), mx.int32)
        text = mx.zeros((1,), mx.int32)

        def language(codes, state, seen):
            hidden, state = lm(text, codes, state, seen=seen)
            return mx.argmax(lm.text_logits(hidden), axis=-1), state

        parts = {"codec": (compiled(mimi.encode_step), pcm, mimi.encoder_state(1))}
        for name, seen in {"full": None, "young": lm.seen(1)}.items():
            step = compiled(partial(language, seen=seen))
            parts[f"language model, {name}"] = step, codes, lm.init_state(1)
        return {name: run_alone(*part, frames) for name, part in parts.items()}


def bytes_per_step(step: SttStep, state: dict, rows: int, positions: int | None = None) -> int:
    """What one step has to read: weights once, caches of each row, whose state is one of `state`'s
    size. positions: the most that a row has; None: its rings are full."""
    weights = models.size(step.lm, skip=_TABLES) + models.size(step.mimi)
    return weights + rows * models.read_of_row(step.lm, state, positions)
