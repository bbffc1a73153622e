"""Text to speech: sessions that speak on and on, and the parts of a step by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import mlx.core as mx
import numpy as np

from benchmark import models
from benchmark.alone import run_alone
from benchmark.lockstep import Lockstep
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.lm.tokens import NEW_WORD, NOTHING, PADDING, UNGENERATED
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.session import Session
from dsm_mlx.runtime.worker import complete
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.prompt import SpeechOptions
from dsm_mlx.tts.step import TtsStep

VOICES = 5 * 125  # positions that a model with voices attends to
_TABLES = ("audio_emb", "text_emb.table", "condition_provider", "depformer")

Start = tuple[dict, Sequence[list[dict]]]
"""What a row begins with, and the keys and values of what it attends to."""


class Endless(Session):
    """A session without a script: it has no words and never ends."""

    offered = NEW_WORD, PADDING

    def __init__(self, start: Start, step: TtsStep, delay: int, said: int = 0):
        """delay: steps by which the sound lags the text. said: steps that lie behind it."""
        beginning, self.keys_values = start
        super().__init__(beginning, live=True)
        self._delay, self._pattern = delay, step.pattern
        self._step, self._wanted, self._computing = said, 0, 0

    def give(self, frames: int) -> None:
        self._wanted += frames

    @property
    def resting(self) -> bool:
        return not (self._wanted or self._computing)

    @property
    def ready(self) -> bool:
        return self._wanted > 0

    @property
    def needs_depth(self) -> bool:
        return self._step >= self._delay

    @property
    def sounds(self) -> bool:
        return self._step >= self._delay + self._pattern.longest

    def begin_frame(self) -> None:
        self._wanted -= 1
        self._computing += 1

    def end_frame(self) -> None:
        self._computing -= 1

    def forced(self) -> np.ndarray:
        begun = self._pattern.begun(self._step - self._delay)
        return np.where(begun, UNGENERATED, NOTHING).astype(np.int32)

    def take(self, _token: int) -> None:
        self._step += 1

    def deliver(self, pcm: np.ndarray) -> None:
        pass


@dataclass
class Speaker:
    """A model that can be run: the step, what makes the start of a row, and the steps by which the
    sound lags the text."""

    step: TtsStep
    start: Callable[[], Start]
    delay: int

    @classmethod
    def random(cls, name: str, *how) -> Speaker:
        """how: bits, dtype and cache, as for `load_tts`. Voices are of any values."""
        lm = models.random_lm(name, *how)
        mimi = models.random_mimi(lm.config.dep_q, encoder=False)
        delay = models.config(name).section("tts_config").get("audio_delay", float)
        step = TtsStep(lm, mimi)
        keys_values = []
        if lm.config.transformer.cross_attention:
            source = mx.random.normal((1, VOICES, lm.config.dim))
            keys_values.append(list(lm.keys_values(source)))
        start = partial(_random_start, step, keys_values)
        return cls(step, start, int(delay * mimi.config.frame_rate))

    @classmethod
    def load(cls, model: str, bits, dtype, cache) -> Speaker:
        """With its own voice and the guidance it speaks with unless told otherwise."""
        checkpoint = Checkpoint.find(model, "tts")
        core = complete(TtsCore.load(checkpoint, LoadOptions(bits, dtype, cache)))
        name = core.voices.default()
        paths = [] if name is None else [core.voices.find(name)]
        voice, options = complete(core.prompts.read("the default", paths)), options_of(core)
        start = lambda: complete(core.prompts.start(voice, options, 0))  # noqa: E731
        return cls(core.step, start, core.timing.delay_steps)

    @property
    def frame_rate(self) -> float:
        return self.step.mimi.config.frame_rate

    @property
    def frames_to_warm(self) -> int:
        """Steps until every part of a step runs."""
        return self.delay + self.step.pattern.longest + 3

    def lockstep(self, rows: int) -> Lockstep:
        """An empty batch of up to `rows` sessions."""
        return Lockstep(TtsFrames(self.step, "text to speech"), "text to speech", rows)

    def session(self, _number: int) -> Endless:
        """One more session."""
        return Endless(self.start(), self.step, self.delay)

    def figures(self, _rows: int, _frames: int, begin: list[float]) -> dict:
        """Milliseconds until the first sound, of the frames that a stream began with."""
        return {"first sound ms": 1e3 * sum(begin[:-2])}

    def bytes_per_step(self, rows: int, positions: int | None = None) -> int:
        """What one step has to read."""
        return bytes_per_step(self.step, *self.start(), rows, positions)

    def parts(self, frames: int) -> dict[str, dict]:
        """Milliseconds of the main model, the depth decoder and the codec, one row."""
        step = self.step
        state, keys_values = self.start()
        cross = [([row], layers) for row, layers in enumerate(keys_values)] or None
        text = mx.zeros((1,), mx.int32)
        forced = mx.full((1, step.codebooks), UNGENERATED, mx.int32)
        sampled, state = step.sample_text(state, cross)
        codes = mx.zeros((1, step.codebooks, 1), mx.int32)
        mx.eval(sampled, state)
        steps = {
            "main model": lambda _, state: step.sample_text(state, cross),
            "depth decoder": lambda _, state: step.sample_audio(state, sampled, text, forced)[1:],
            "codec": step.decode,
        }
        return {name: run_alone(run, codes, self.start()[0], frames) for name, run in steps.items()}


def options_of(core: TtsCore) -> SpeechOptions:
    """What `TextToSpeech.stream` takes where nothing is said."""
    if core.cfg_names:
        return SpeechOptions(core.config.temperature, cfg=core.cfg_names.get(core.guidance))
    guidance = None if core.guidance == 1 else core.guidance
    return SpeechOptions(core.config.temperature, guidance)


def _random_start(step: TtsStep, keys_values: list[list[dict]]) -> Start:
    conditions = {"temperature": mx.array([0.6]), "padding_bonus": mx.array([0.0])}
    if step.lm.config.conditioners.sum:
        conditions["sum"] = mx.zeros((1, 1, step.lm.config.dim))
    state = step.init_state(conditions, row_keys([0]))
    mx.eval(state)
    return state, keys_values


def bytes_per_step(
    step: TtsStep, state: dict, keys_values: Sequence, rows: int, positions: int | None = None
) -> int:
    """What one step has to read: weights as often as they are used, a voice's keys and values once,
    caches of each row, whose state is one of `state`'s size. positions: the most that a row has;
    None: its rings are full."""
    lm, mimi = step.lm, step.mimi
    weights = models.size(lm, skip=_TABLES) + models.size(mimi) + _depth_size(lm.depformer)
    return (
        weights + models.state_size(keys_values) + rows * models.read_of_row(lm, state, positions)
    )


def _depth_size(depth) -> int:
    """Bytes that a frame reads: a weight set once for each codebook that uses it."""
    projections = models.size(depth.linear_in) + sum(map(models.size, depth.linear_out))
    for layer in depth.layers:
        for weights in depth.config.schedule:
            attention = layer.self_attn
            used = layer.gating[weights], attention.in_proj[weights], attention.out_proj[weights]
            projections += sum(map(models.size, used))
    return projections
