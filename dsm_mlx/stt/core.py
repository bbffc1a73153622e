"""A loaded model, as all its handles share it: weights, one batch, what rows begin with."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import mlx.core as mx

from dsm_mlx.checks import check_number
from dsm_mlx.errors import CheckpointError
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.core import told
from dsm_mlx.loading.info import fingerprint, languages_of, model_info
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.results import ModelInfo
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.rows import tree_bytes
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.stt.clock import Timing
from dsm_mlx.stt.config import SttConfig
from dsm_mlx.stt.frame import SttFrames
from dsm_mlx.stt.prompt import Prepared, PromptCache, ReadPrompt
from dsm_mlx.stt.step import SttStep

_LONGEST_DELAY = 60.0  # seconds
_KEPT = 4  # delays whose beginning stays in memory


class SttCore:
    """Weights, step and batch. Made by `load` on the worker's thread."""

    kind = "stt"
    about_tiny = (
        "using the bundled model `tiny`: it knows synthetic English voices only; for "
        "people's voices pass a real model, such as --model stt-1b"
    )

    def __init__(self, checkpoint: Checkpoint, config: SttConfig, languages, lm, mimi, tokenizer):
        self.name = checkpoint.title
        self.config, self.languages = config, languages
        self.lm, self.codec, self.tokenizer = lm, mimi, tokenizer
        self.step = SttStep(lm, mimi)
        self.batch = Batch(SttFrames(self.step, self.name), self.name)
        self.prompts = PromptCache(self.step, tokenizer, self.name)
        self.identity = fingerprint(checkpoint, lm)
        self._allowed = 0
        self._beginnings: OrderedDict[float, dict] = OrderedDict()

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Pieces[SttCore]:
        """CheckpointError for what is damaged, or no speech-to-text model."""
        # What is small and may be wrong comes first.
        config, tokenizer = SttConfig.read(checkpoint.config), checkpoint.load_tokenizer()
        languages = languages_of(checkpoint.config)
        lm = yield from told(checkpoint.read_lm(options), 0.0, 0.9, "loading the model")
        if lm.config.dep_q:
            raise CheckpointError(
                f"{checkpoint.name}: a text-to-speech model (expected speech-to-text)"
            )
        reading = checkpoint.read_codec_for(lm, lm.config.n_q, decoder=False)
        mimi = yield from told(reading, 0.9, 1.0, "loading the codec")
        core = cls(checkpoint, config, languages, lm, mimi, tokenizer)
        worker.shared.add(core.batch)
        return core

    @property
    def batches(self) -> list[Batch]:
        return [self.batch]

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return model_info(
            self.lm,
            self.codec,
            name=self.name,
            kind="stt",
            codebooks=self.lm.config.n_q,
            delay=self.config.delay,
            languages=self.languages,
        )

    def row_bytes(self) -> int:
        """The memory of one row."""
        return tree_bytes(self.step.init_state())

    def allow(self, rows: int) -> None:
        """Let there be so many rows more, or fewer. On the worker's thread."""
        self._allowed += rows
        self.batch.limit = max(1, self._allowed)

    @property
    def sample_rate(self) -> int:
        return int(self.codec.config.sample_rate)

    @property
    def frame_rate(self) -> float:
        return float(self.codec.config.frame_rate)

    @property
    def heads(self) -> bool:
        """Whether the model itself predicts pauses."""
        return self.lm.config.extra_heads > 0

    @property
    def delays(self) -> tuple[float, ...]:
        """The delays in seconds that a stream can choose from; of a model that takes any, none."""
        conditioner = self.lm.config.conditioners.by_name.get("delay")
        if conditioner is None:
            return (self.config.delay,)
        return tuple(sorted(float(value) for value in conditioner.values))

    def nearest_delay(self, wanted: float | None) -> float:
        """The delay in seconds that is used when `wanted` is asked for (None: the model's own).

        Raises:
            ValueError: it is no time, or another than the only one that the model knows.
        """
        own = self.config.delay
        delay = own if wanted is None else wanted
        check_number("delay", delay, 0.0, _LONGEST_DELAY)
        delay = float(delay)
        conditioner = self.lm.config.conditioners.by_name.get("delay")
        if conditioner is None and delay != own:
            raise ValueError(f"delay is {delay} (this model has a fixed delay of {own} s)")
        if conditioner is not None and conditioner.kind == "lut":
            return min(self.delays, key=lambda known: abs(known - delay))
        return delay

    def timing(self, delay: float) -> Timing:
        mimi = self.codec.config
        return Timing(
            sample_rate=mimi.sample_rate,
            frame_rate=mimi.frame_rate,
            frame_size=mimi.frame_size,
            delay=round(delay * mimi.frame_rate),
            prefix=round(self.config.prefix * mimi.sample_rate),
            heads=self.heads,
        )

    def beginning(self, delay: float, temperature: float, seed: int) -> dict:
        """The state of a row that has heard nothing. On the worker's thread."""
        if temperature:
            return self.step.beginning(self.condition(delay), temperature, seed)
        if delay not in self._beginnings:
            beginning = self.step.beginning(self.condition(delay))
            self._beginnings[delay] = self.step.shortened(beginning)
            if len(self._beginnings) > _KEPT:
                self._beginnings.popitem(last=False)
        self._beginnings.move_to_end(delay)
        return self.step.lengthened(self._beginnings[delay])

    def after(self, prompt: ReadPrompt, delay: float) -> Pieces[Prepared]:
        """What streams begin with that have heard a prompt. On the worker's thread."""
        return self.prompts.prepare(prompt, delay, self.timing(delay), self.condition(delay))

    def condition(self, delay: float) -> mx.array | None:
        """What the model is told of a delay, (1, 1, dim). On the worker's thread."""
        conditioners = self.lm.config.conditioners
        if not conditioners.by_name:
            return None
        values: dict[str, Any] = {}
        if config := conditioners.by_name.get("delay"):
            names = {float(name): name for name in config.values}
            values["delay"] = names[delay] if config.kind == "lut" else -delay
        condition = self.lm.condition_provider.sum(values)
        if condition is not None:
            mx.eval(condition)
        return condition
