"""Speech to text: a stream as a user would run it, and its parts by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx
import numpy as np

from benchmark import models
from benchmark.alone import run_alone
from dsm_mlx.runtime.device import compiled
from dsm_mlx.stt.engine import Batch
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import SttStep

_TABLES = ("audio_emb", "text_emb", "condition_provider")


class Letters:
    """Stands for the tokenizer, which random weights have not: every token is a word."""

    def id_to_piece(self, token: int) -> str:
        return "\u2581x"

    def decode(self, tokens: list[int]) -> str:
        return "x" * len(tokens)


@dataclass
class Listener:
    """A model that can be run: the step, and what a stream needs beside it."""

    step: SttStep
    condition: mx.array | None = None
    warm = 3  # steps until all is as it will stay

    @classmethod
    def random(cls, name: str, *how) -> Listener:
        """how: bits, dtype and cache, as for `load_stt`."""
        lm = models.random_lm(name, *how)
        return cls(SttStep(lm, models.random_mimi(lm.config.n_q, decoder=False)))

    @classmethod
    def load(cls, model: str, bits, dtype, cache) -> Listener:
        from dsm_mlx import load_stt

        stt = load_stt(model, bits=bits, dtype=dtype, cache=cache)
        return cls(stt._step, stt._choose_delay(None)[0])

    @property
    def frame_rate(self) -> float:
        return self.step.mimi.config.frame_rate

    def stream(self, rows: int) -> Stream:
        return Stream(self, rows)

    def bytes_per_step(self, rows: int) -> int:
        """What one step has to read: weights once, caches of each row."""
        weights = models.size(self.step.lm, skip=_TABLES) + models.size(self.step.mimi)
        return weights + rows * models.state_size(self.step.init_state(1))

    def parts(self, frames: int) -> dict[str, dict]:
        """Milliseconds of the codec and of the language model, one row."""
        lm, mimi = self.step.lm, self.step.mimi
        pcm = mx.random.normal((1, mimi.config.frame_size)) * 0.1
        codes = mx.zeros((1, lm.config.n_q), mx.int32)
        text = mx.zeros((1,), mx.int32)

        @compiled
        def language(codes, state):
            hidden, state = lm(text, codes, state)
            return mx.argmax(lm.text_logits(hidden), axis=-1), state

        encode = compiled(mimi.encode_step)
        return {
            "codec": run_alone(encode, pcm, mimi.encoder_state(1), frames),
            "language model": run_alone(language, codes, lm.init_state(1), frames),
        }


class Stream:
    """Batch that hear noise, live: each frame is heard and answered before the next."""

    def __init__(self, listener: Listener, rows: int):
        mimi = listener.step.mimi.config
        self._rows = Batch(listener.step, rows)
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

    def run(self, frames: int) -> Iterator[float]:
        """Hear `frames` frames; yields the seconds of each."""
        for _ in range(frames):
            yield self._hear(1)

    def recording(self, frames: int) -> float:
        """Seconds for each frame when they are all there at once, as in a file."""
        return self._hear(frames) / frames

    def _hear(self, frames: int) -> float:
        for session in self._sessions.values():
            noise = self._random.standard_normal(frames * self._size, np.float32)
            session.feed(0.1 * noise)
        start = time.perf_counter()
        self._rows.run(frames)
        return time.perf_counter() - start

    def close(self) -> None:
        self._rows.close()
