"""A loaded model, as all its handles share it: weights, batches, voices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.core import told
from dsm_mlx.loading.info import languages_of, model_info
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER, Voices, model_identity
from dsm_mlx.results import ModelInfo
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.rows import tree_bytes
from dsm_mlx.runtime.schedule import Cost
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.tts.config import TtsConfig
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.prompt import PromptCache, SpeechOptions, VoicePrompt
from dsm_mlx.tts.script import ScriptReader, word_tokenizer
from dsm_mlx.tts.session import LiveText, Session, Timing
from dsm_mlx.tts.step import TtsStep
from dsm_mlx.tts.text.wording import Wording

_KEPT = 4  # batches of which nobody is in


class TtsCore:
    """Weights, step, voices and batches. Made by `load` on the worker's thread."""

    kind = "tts"
    about_tiny = (
        "using the bundled model `tiny`: it imitates synthetic English voices and knows "
        "everyday words only; for natural speech pass a real model, such as "
        "--model tts-1.6b"
    )

    def __init__(self, checkpoint: Checkpoint, config: TtsConfig, languages, lm, mimi, tokenizer):
        self.name = checkpoint.title
        self.config, self.languages = config, languages
        self.lm, self.codec, self._allowed = lm, mimi, 0
        self.timing = Timing(
            delay_steps=int(config.audio_delay * mimi.config.frame_rate),
            pattern=DelayPattern(lm.config.delays[1 : 1 + lm.config.dep_q]),
            frame_rate=mimi.config.frame_rate,
            sample_rate=mimi.config.sample_rate,
        )
        self.voices = Voices.of(checkpoint)
        self.tokenize = word_tokenizer(tokenizer)
        self.conditioned = SPEAKER_CONDITIONER in lm.config.conditioners.by_name
        self.slots = config.max_speakers if self.conditioned else 1
        cfg = lm.config.conditioners.by_name.get("cfg")
        self.cfg_names = {float(name): name for name in cfg.values} if cfg else {}
        self._identity = model_identity(checkpoint)
        self.use(TtsStep(lm, mimi))
        self._cost = Cost()
        self._batches: dict[tuple[bool, int], Batch] = {}

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Pieces[TtsCore]:
        """CheckpointError for what is damaged, or no text-to-speech model."""
        # What is small and may be wrong comes first.
        config, tokenizer = TtsConfig.read(checkpoint.config), checkpoint.load_tokenizer()
        languages = languages_of(checkpoint.config)
        lm = yield from told(checkpoint.read_lm(options), 0.0, 0.9, "loading the model")
        if not lm.config.dep_q:
            raise CheckpointError(
                f"{checkpoint.name}: a speech-to-text model (expected text-to-speech)"
            )
        conditioners = lm.config.conditioners
        if set(conditioners.cross) - {SPEAKER_CONDITIONER}:
            raise CheckpointError(f"{checkpoint.name}: attends to more than {SPEAKER_CONDITIONER}")
        clones = SPEAKER_CONDITIONER not in conditioners.by_name
        if clones and lm.config.voices > 1:  # of whose sound the reference knows no prefix either
            raise CheckpointError(
                f"{checkpoint.name}: 'multistream' without the conditioner {SPEAKER_CONDITIONER}"
            )
        reading = checkpoint.read_codec_for(lm, lm.config.codebooks, encoder=clones)
        mimi = yield from told(reading, 0.9, 1.0, "loading the codec")
        return cls(checkpoint, config, languages, lm, mimi, tokenizer)

    def use(self, step: TtsStep) -> None:
        """Compute with another step over the same weights, such as one that records. Before the
        first session."""
        self.step = step
        identity = self._identity
        self.prompts = PromptCache(step, self.timing, self.config.max_speakers, identity)

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return model_info(
            self.lm,
            self.codec,
            name=self.name,
            kind="tts",
            codebooks=self.lm.config.codebooks * self.lm.config.voices,
            delay=self.config.audio_delay,
            languages=self.languages,
        )

    def row_bytes(self) -> int:
        """The memory of one row, with guidance if the checkpoint asks for it."""
        guided = not self.cfg_names and self.guidance != 1
        conditions = {"guidance": mx.zeros((1,))} if guided else {}
        return tree_bytes(self.step.init_state(conditions, mx.zeros((1, 2), mx.uint32)))

    def allow(self, rows: int) -> None:
        """Let there be so many rows more, or fewer. On the worker's thread."""
        self._allowed += rows
        for batch in self._batches.values():
            batch.limit = max(1, self._allowed)

    @property
    def guidance(self) -> float | None:
        """What `cfg=None` means: the checkpoint's own, else 2 where the model was taught it, else
        none (1; None where it is a condition that can be left out)."""
        if self.config.guidance is not None:
            return self.config.guidance
        if self.cfg_names:
            return 2.0 if 2.0 in self.cfg_names else None
        return 1.0

    def voice(self, voices: Sequence[Path | np.ndarray]) -> VoicePrompt:
        """The voices in these files, or of these embeddings. On the caller's thread, which may
        have to read sound.

        Raises:
            ValueError: an embedding, of a model that clones or of another shape.
            CheckpointError: a voice file that is damaged or for another model.
            AudioError: sound to clone from that cannot be read, or is too short or too long.
        """
        key = tuple(_identity(voice) for voice in voices)
        sound = None
        if voices and not self.conditioned:
            if isinstance(voices[0], np.ndarray):
                raise ValueError("voice is an embedding (this model clones a voice from sound)")
            if not worker.run(self.prompts.known, key):
                sound = self.prompts.sound_of(voices[0])
        return worker.run_pieces(self.prompts.read(key, voices, sound))

    def script(
        self, options: SpeechOptions | None = None, wording: Wording | None = None
    ) -> LiveText:
        """For a text that is yet to come, at the pace of these options; wording: how its words are
        read."""
        padding = (options or SpeechOptions()).padding
        reader = ScriptReader(
            self.tokenize, frame_rate=self.timing.frame_rate, speakers=self.conditioned
        )
        machine = ScriptMachine(
            self.lm.config.text_card,
            self.config.second_stream_ahead,
            max_padding=padding.most,
            more_padding=padding.more,
        )
        return LiveText((wording or Wording()).over(reader), machine)

    def session(
        self,
        script: LiveText,
        voice: VoicePrompt,
        options: SpeechOptions,
        seed: int,
        *,
        keep_words: bool = False,
        live: bool = True,
        changed: Changed | None = None,
    ) -> Pieces[Session]:
        """A session that may join its `home`. On the worker's thread."""
        state, keys_values = yield from self.prompts.start(voice, options, seed)
        session = Session(
            state,
            keys_values,
            script,
            self.timing,
            voice.prefix,
            keep_words,
            live=live,
            changed=changed,
            max_seconds=options.max_seconds,
        )
        session.home = self._batch((options.guidance is not None, voice.length))
        return session

    def _batch(self, key: tuple[bool, int]) -> Batch:
        """The batch of those who agree on what their arrays must."""
        if key not in self._batches:
            if len(self._batches) >= _KEPT:  # voices come in any length
                self._batches = {k: batch for k, batch in self._batches.items() if batch.open}
            batch = Batch(
                TtsFrames(self.step, self.name), self.name, max(1, self._allowed), self._cost
            )
            self._batches[key] = batch
            worker.shared.add(batch)
        return self._batches[key]

    @property
    def batches(self) -> list[Batch]:
        return list(self._batches.values())


def _identity(voice: Path | np.ndarray) -> tuple:
    """What tells one voice from another."""
    if isinstance(voice, np.ndarray):
        return voice.shape, hashlib.sha256(voice.tobytes()).hexdigest()
    return str(voice), voice.stat().st_mtime_ns
