"""Speech to text: a stream as a user would run it, and its parts by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from benchmark import models
from benchmark.statistics import spread
from dsm_mlx.stt.engine import Rows
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import ListenStep

_EMBEDDINGS = ("audio_emb", "text_emb", "condition_provider")


class Letters:
    """Stands for the tokenizer, which random weights have not: every token is a word."""

    def id_to_piece(self, token: int) -> str:
        return "\u2581x"

    def decode(self, tokens: list[int]) -> str:
        return "x" * len(tokens)


@dataclass
class Runner:
    """A model that can be run: the step, and what a stream needs beside it."""

    step: ListenStep
    condition: mx.array | None = None

    @classmethod
    def random(cls, name: str, bits: int | None, dtype: str | None) -> Runner:
        lm = models.random_lm(name, bits, dtype)
        return cls(ListenStep(lm, models.random_mimi(lm.config.n_q, decoder=False)))

    @classmethod
    def load(cls, model: str, bits: int | None, dtype: str | None) -> Runner:
        from dsm_mlx import load_stt

        stt = load_stt(model, bits=bits, dtype=dtype)
        return cls(stt._step, stt._choose_delay(None)[0])

    @property
    def frame_rate(self) -> float:
        return self.step.mimi.config.frame_rate

    def stream(self, rows: int) -> Stream:
        return Stream(self, rows)

    def bytes_per_step(self, rows: int) -> int:
        """What one step has to read: weights once, caches of each row, rows of embeddings."""
        lm, mimi = self.step.lm, self.step.mimi
        weights = models.size(lm, skip=_EMBEDDINGS) + models.size(mimi)
        table = lm.audio_emb.weight
        embedding = table.nbytes // table.shape[0] * (lm.config.n_q + 1)
        return weights + rows * (models.state_size(self.step.init_state(1)) + embedding)


class Stream:
    """Rows that hear noise, live: each frame is heard and answered before the next."""

    def __init__(self, listener: Runner, rows: int):
        mimi = listener.step.mimi.config
        self._rows = Rows(listener.step, rows)
        self._sessions = {
            row: Session(
                tokenizer=Letters(),
                delay=6,
                prefix=0,
                heads=listener.step.lm.config.extra_heads > 0,
                mimi_config=mimi,
            )
            for row in range(rows)
        }
        self._random, self._size = np.random.default_rng(0), mimi.frame_size
        self._rows.join(self._sessions, listener.condition)

    def run(self, frames: int, at_once: int = 1) -> Iterator[float]:
        """Hear `frames` frames, `at_once` in one call; yields the seconds of each call."""
        for _ in range(frames // at_once):
            for session in self._sessions.values():
                session.feed(self._sound(at_once))
            start = time.perf_counter()
            self._rows.run(at_once)
            yield time.perf_counter() - start

    def _sound(self, frames: int) -> np.ndarray:
        return 0.1 * self._random.standard_normal(frames * self._size, np.float32)

    def close(self) -> None:
        self._rows.close()


def parts(listener: Runner, frames: int) -> dict[str, dict]:
    """Milliseconds of the codec and of the language model by themselves, one row."""
    lm, mimi = listener.step.lm, listener.step.mimi
    pcm = mx.random.normal((1, mimi.config.frame_size)) * 0.1
    codes = mx.zeros((1, lm.config.n_q), mx.int32)
    text = mx.zeros((1,), mx.int32)

    def language(codes, state):
        hidden, state = lm(text, codes, state)
        return mx.argmax(lm.text_logits(hidden), axis=-1), state

    state = lm.init_state(1)
    return {
        "codec": run_alone(mimi.encode_step, pcm, mimi.encoder_state(1), frames),
        "language model": run_alone(language, codes, state, frames),
    }


def run_alone(step, inputs: mx.array, state: dict, frames: int) -> dict:
    """The spread of milliseconds of a step by itself, each evaluated before the next."""
    step, times = mx.compile(step), []
    for _ in range(frames + 3):
        start = time.perf_counter()
        output, state = step(inputs, state)
        mx.eval(output, state)
        times.append(time.perf_counter() - start)
    return spread(times[3:])
