"""The public face of text to speech: a loaded model that speaks and opens streams."""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsm_mlx.codec.mimi import Mimi
from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER, Voice, Voices, model_identity
from dsm_mlx.results import Chunk, Speech
from dsm_mlx.runtime import worker
from dsm_mlx.tts.config import TtsConfig
from dsm_mlx.tts.engine import Batch
from dsm_mlx.tts.prompt import PromptCache, SpeechOptions, VoicePrompt
from dsm_mlx.tts.script import ScriptMachine, ScriptReader, word_tokenizer
from dsm_mlx.tts.session import LiveText, Session, Timing
from dsm_mlx.tts.step import TtsStep
from dsm_mlx.tts.stream import SpeechStream

Turns = list[tuple[Voice | None, str]]
Text = str | Turns
log = logging.getLogger("dsm_mlx")


class TextToSpeech:
    """A text-to-speech model. Holds weights only: any number of streams share it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        bits: int | None = None,
        dtype: str | None = None,
        codebooks: int | None = None,
        cache: str | None = None,
    ):
        self.name = checkpoint.name
        config = TtsConfig.read(checkpoint.config)
        lm = checkpoint.load_lm(bits, dtype, codebooks, cache)
        if not lm.config.dep_q:
            raise CheckpointError(f"{self.name}: a speech-to-text model (expected text-to-speech)")
        conditioners = lm.config.conditioners
        if set(conditioners.cross) - {SPEAKER_CONDITIONER}:
            raise CheckpointError(f"{self.name}: attends to more than {SPEAKER_CONDITIONER}")
        self._conditioned = SPEAKER_CONDITIONER in conditioners.by_name
        mimi = checkpoint.load_codec_for(lm, lm.config.dep_q, encoder=not self._conditioned)
        self._ahead, self._slots = config.second_stream_ahead, config.max_speakers
        self._timing = Timing(
            delay_steps=int(config.audio_delay * mimi.config.frame_rate),
            pattern=DelayPattern(lm.config.delays[1 : 1 + lm.config.dep_q]),
            frame_rate=mimi.config.frame_rate,
            sample_rate=mimi.config.sample_rate,
        )
        self._temperature = config.temperature
        self._guidance = 1.0 if config.guidance is None else config.guidance
        self._voices = Voices.of(checkpoint)
        self._text_card = lm.config.text_card
        self._tokenize = word_tokenizer(checkpoint.load_tokenizer())
        cfg = conditioners.by_name.get("cfg")
        self._cfg_names = {float(name): name for name in cfg.values} if cfg else {}
        self._step = TtsStep(lm, mimi, self._timing.delay_steps)
        self._prompts = PromptCache(
            self._step, self._timing, Mimi(mimi), self._slots, model_identity(checkpoint)
        )
        if checkpoint.files.bundled:
            log.warning(
                "using the bundled model `tiny`: it imitates synthetic English voices and knows "
                "everyday words only; for natural speech pass a real model, such as "
                "--model tts-1.6b"
            )

    @property
    def sample_rate(self) -> int:
        """Samples a second: 24000."""
        return self._timing.sample_rate

    @property
    def frame_rate(self) -> float:
        """Steps, and chunks of sound, a second: 12.5."""
        return self._timing.frame_rate

    @property
    def clones(self) -> bool:
        """Whether a voice is a recording that the model imitates, rather than one of a list."""
        return self._voices.clones

    @property
    def cfg_values(self) -> tuple[float, ...]:
        """The only values of `cfg` there are, for a model that was taught them; else empty."""
        return tuple(self._cfg_names)

    def voices(self) -> list[str]:
        """Names for `voice`. For a model of the hub, its voice repository is asked if it can be."""
        return self._voices.names()

    def synthesize(
        self,
        text: Text | Sequence[Text],
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
    ) -> Speech | list[Speech]:
        """Say a text of any length.

        Args:
            text: a text, or a dialogue: a list of turns `(voice, text)` of up to five voices. A
                list of texts (or of dialogues, themselves lists) gives a list of results, and
                `batch` of them run in lockstep.
            voice: a name from `voices()`, a path, or `hf://owner/repository/path`; None: the
                model's default. With a list of texts, one voice or a list of them.
            temperature: 0 is deterministic. None: the checkpoint's own (`lm_gen_config.temp`, 0.6
                in Kyutai's).
            cfg: strength of guidance. A model that was taught it as a condition takes only
                `cfg_values`, and None for no such condition; for others it doubles the work, 1.0
                is without, and None is the checkpoint's own (`lm_gen_config.cfg_coef`, 1.0 if it
                has none).
            seed: makes a result repeatable, whatever else is in the batch.
            padding_bonus: above 0 for slower speech.
            progress: called with every chunk of sound.

        Raises:
            ValueError: an unknown tag in the text, or a value out of range.
            CheckpointError: a voice that cannot be found or does not fit.
        """
        single = isinstance(text, str) or _is_dialogue(text)
        if not single and not isinstance(text, (list, tuple)):
            raise ValueError(f"text is {type(text).__name__} (expected str or a list)")
        texts = [text] if single else list(text)
        voices = _for_each(voice, len(texts), "voices")
        seeds = _for_each(seed, len(texts), "seeds")
        style = self._style(temperature, cfg, padding_bonus)
        jobs = [
            self._job(*turns, seed)
            for turns, seed in zip(map(_turns, texts, voices), seeds, strict=True)
        ]
        if batch < 1:
            raise ValueError(f"batch is {batch} (expected at least 1)")
        for length in sorted({job.speakers.length for job in jobs}):
            self._say(
                [job for job in jobs if job.speakers.length == length], style, batch, progress
            )
        results = [job.speech(self.sample_rate) for job in jobs]
        return results[0] if single else results

    def stream(
        self,
        voice: Voice | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | None = None,
        padding_bonus: float = 0.0,
    ) -> SpeechStream:
        """Open a live stream; use it in a `with` block or cancel it.

        Arguments as in `synthesize`.
        """
        style = self._style(temperature, cfg, padding_bonus)
        speakers = self._speakers([voice])
        session = self._session(speakers)
        rows = Batch(self._step, 1)
        worker.run(self._join, rows, 0, session, speakers, style, _seed(seed))
        return SpeechStream(rows, session)

    def _say(self, jobs: list[_Job], style: SpeechOptions, batch: int, progress) -> None:
        """Run jobs whose voices have the same length, at most `batch` at a time."""
        rows, running = Batch(self._step, min(batch, len(jobs))), {}
        waiting = iter(jobs)
        try:
            while True:
                for row, job in zip(rows.free, waiting, strict=False):
                    worker.run(self._join, rows, row, job.session, job.speakers, style, job.seed)
                    running[row] = job
                if not running:
                    return
                for row, chunk in rows.run().items():
                    running[row].chunks.append(chunk.audio)
                    if progress:
                        progress(chunk)
                for row in [row for row, job in running.items() if job.session.done]:
                    rows.leave(row)
                    del running[row]
        finally:
            rows.close()

    def _join(
        self, rows: Batch, row: int, session, speakers: VoicePrompt, style: SpeechOptions, seed: int
    ):
        state, conditions = self._prompts.start(speakers, style, seed)
        rows.join(row, session, state, conditions)

    def _job(self, voices: list[Voice | None], turns: list[tuple[int, str]], seed: int | None):
        speakers = self._speakers(voices)
        session = self._session(speakers, keep_words=True)
        for speaker, text in turns:
            session.script.turn(speaker)
            session.script.feed(text)
        session.script.end()
        return _Job(session, speakers, _seed(seed), [])

    def _session(self, speakers: VoicePrompt, keep_words: bool = False) -> Session:
        reader = ScriptReader(
            self._tokenize, frame_rate=self.frame_rate, speakers=self._conditioned
        )
        machine = ScriptMachine(self._text_card, self._ahead)
        return Session(LiveText(reader, machine), self._timing, speakers.prefix, keep_words)

    def _speakers(self, voices: list[Voice | None]) -> VoicePrompt:
        limit = self._slots if self._conditioned else 1
        if len(voices) > limit:
            raise ValueError(f"{len(voices)} voices in one dialogue (this model knows {limit})")
        names = [self._voices.default() if voice is None else voice for voice in voices]
        paths = tuple(self._voices.find(name) for name in names if name is not None)
        return worker.run(self._prompts.read, paths)

    def _style(
        self, temperature: float | None, cfg: float | None, padding_bonus: float
    ) -> SpeechOptions:
        if temperature is None:
            temperature = self._temperature
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature} (expected 0 or more)")
        if not math.isfinite(padding_bonus):
            raise ValueError(f"padding_bonus is {padding_bonus} (expected a number)")
        if self._cfg_names:
            if cfg is not None and cfg not in self._cfg_names:
                known = ", ".join(self._cfg_names.values())
                raise ValueError(f"cfg is {cfg} (this model knows {known})")
            return SpeechOptions(temperature, None, self._cfg_names.get(cfg), padding_bonus)
        if cfg is None:
            cfg = self._guidance
        if not math.isfinite(cfg):
            raise ValueError(f"cfg is {cfg} (expected a number)")
        return SpeechOptions(temperature, None if cfg == 1 else cfg, None, padding_bonus)


@dataclass
class _Job:
    """A text that is being said to its end."""

    session: Session
    speakers: VoicePrompt
    seed: int
    chunks: list[np.ndarray]

    def speech(self, sample_rate: int) -> Speech:
        audio = np.concatenate([np.zeros(0, np.float32), *self.chunks])
        return Speech(audio, sample_rate, self.session.words)


def load_tts(
    model: str | Path | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    codebooks: int | None = None,
    cache: str | None = None,
) -> TextToSpeech:
    """See `dsm_mlx.load_tts`."""
    options = {"bits": bits, "dtype": dtype, "codebooks": codebooks, "cache": cache}
    return worker.run(TextToSpeech, Checkpoint.find(model, "tts", revision), **options)


def _is_dialogue(text: object) -> bool:
    return isinstance(text, list) and bool(text) and all(isinstance(t, tuple) for t in text)


def _turns(text: Text, voice: Voice | None) -> tuple[list[Voice | None], list[tuple[int, str]]]:
    """The voices of a text, and its turns as (number of the voice, text)."""
    if isinstance(text, str):
        return [voice], [(0, text)]
    if not _is_dialogue(text) or not all(len(t) == 2 and isinstance(t[1], str) for t in text):
        raise ValueError(f"text is {text!r:.80} (expected a string or a list of (voice, text))")
    voices: list[Voice | None] = []
    for name, _ in text:
        name = voice if name is None else name
        if name not in voices:
            voices.append(name)
    return voices, [(voices.index(voice if v is None else v), t) for v, t in text]


def _for_each(value, count: int, what: str) -> list:
    """One value for all texts, or a list with one for each."""
    if isinstance(value, (list, tuple)):
        if len(value) != count:
            raise ValueError(f"{len(value)} {what} for {count} texts")
        return list(value)
    return [value] * count


def _seed(seed: int | None) -> int:
    if seed is None:
        return secrets.randbits(32)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise ValueError(f"seed is {seed!r} (expected an integer from 0 up)")
    return seed
