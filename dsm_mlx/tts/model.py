"""The public face of text to speech: a loaded model that speaks and opens streams."""

from __future__ import annotations

import logging
import math
import secrets
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsm_mlx.loading.core import open_core
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.loading.voices import Voice
from dsm_mlx.results import Chunk, Speech
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.waiting import raise_error
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.session import LiveText, Session
from dsm_mlx.tts.stream import SpeechStream

Turns = list[tuple[Voice | None, str]]
Text = str | Turns
log = logging.getLogger("dsm_mlx")


class TextToSpeech:
    """A text-to-speech model. Any number of threads may use it at once."""

    def __init__(self, core: TtsCore, max_streams: int):
        self._core = core
        self.max_streams = max_streams
        self._streams: weakref.WeakSet[SpeechStream] = weakref.WeakSet()
        if core.bundled:
            log.warning(
                "using the bundled model `tiny`: it imitates synthetic English voices and knows "
                "everyday words only; for natural speech pass a real model, such as "
                "--model tts-1.6b"
            )

    @classmethod
    def load(
        cls,
        model: str | Path | None,
        options: LoadOptions,
        *,
        revision: str | None = None,
        max_streams: int | None = None,
        progress: Callable[[float, str], None] | None = None,
    ) -> TextToSpeech:
        """See `dsm_mlx.load_tts`."""
        return cls(*open_core(TtsCore, model, "tts", options, revision, max_streams, progress))

    @property
    def name(self) -> str:
        """What the model is known by: a folder or a repository of the hub."""
        return self._core.name

    @property
    def sample_rate(self) -> int:
        """Samples a second: 24000."""
        return self._core.timing.sample_rate

    @property
    def frame_rate(self) -> float:
        """Steps, and chunks of sound, a second: 12.5."""
        return self._core.timing.frame_rate

    @property
    def clones(self) -> bool:
        """Whether a voice is a recording that the model imitates, rather than one of a list."""
        return self._core.voices.clones

    @property
    def cfg_values(self) -> tuple[float, ...]:
        """The only values of `cfg` there are, for a model that was taught them; else empty."""
        return tuple(self._core.cfg_names)

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def voices(self) -> list[str]:
        """Names for `voice`. For a model of the hub, its voice repository is asked if it can be."""
        return self._core.voices.names()

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
                `cfg_values`; for others it doubles the work, and 1.0 is without. None: the
                checkpoint's own (`lm_gen_config.cfg_coef`), else 2.0 where the model was taught
                it, else 1.0.
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
        options = self._options(temperature, cfg, padding_bonus)
        jobs = [
            self._job(*turns, seed)
            for turns, seed in zip(map(_turns, texts, voices), seeds, strict=True)
        ]
        if batch < 1:
            raise ValueError(f"batch is {batch} (expected at least 1)")
        self._say(jobs, options, batch, progress)
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

        Arguments as in `synthesize`. BusyError where no row is free.
        """
        options = self._options(temperature, cfg, padding_bonus)
        script, voices = self._core.script(), self._voice([voice])
        return self._opened(self._core.open(script, voices, options, _seed(seed)))

    def _opened(self, session: Session) -> SpeechStream:
        stream = SpeechStream(session, self._streams.discard, None)
        self._streams.add(stream)
        return stream

    def _say(self, jobs: list[_Job], options: SpeechOptions, batch: int, progress) -> None:
        """Run jobs, at most `batch` at a time."""
        waiting, running, changed = deque(jobs), [], threading.Condition()
        try:
            while waiting or running:
                while waiting and len(running) < batch:
                    job = waiting.popleft()
                    job.session = self._core.open(
                        job.script,
                        job.voice,
                        options,
                        job.seed,
                        keep_words=True,
                        live=False,
                        changed=changed,
                    )
                    running.append(job)
                worker.post()
                worker.check()
                with changed:
                    changed.wait_for(lambda: any(job.news for job in running))
                for job in list(running):
                    over = job.session.over
                    job.take(progress)
                    if over:
                        running.remove(job)
                        worker.post(job.session.stop)
        finally:
            for job in running:
                worker.post(job.session.stop)

    def _job(self, voices: list[Voice | None], turns: list[tuple[int, str]], seed: int | None):
        script = self._core.script()
        for speaker, text in turns:
            script.turn(speaker)
            script.feed(text)
        script.end()
        return _Job(script, self._voice(voices), _seed(seed))

    def _voice(self, voices: list[Voice | None]) -> VoicePrompt:
        core = self._core
        if len(voices) > core.slots:
            raise ValueError(
                f"{len(voices)} voices in one dialogue (this model knows {core.slots})"
            )
        names = [core.voices.default() if voice is None else voice for voice in voices]
        return core.voice([core.voices.find(name) for name in names if name is not None])

    def _options(
        self, temperature: float | None, cfg: float | None, padding_bonus: float
    ) -> SpeechOptions:
        core = self._core
        if temperature is None:
            temperature = core.config.temperature
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature} (expected 0 or more)")
        if not math.isfinite(padding_bonus):
            raise ValueError(f"padding_bonus is {padding_bonus} (expected a number)")
        if cfg is None:
            cfg = core.guidance
        if core.cfg_names:
            if cfg is not None and cfg not in core.cfg_names:
                known = ", ".join(core.cfg_names.values())
                raise ValueError(f"cfg is {cfg} (this model knows {known})")
            return SpeechOptions(temperature, None, core.cfg_names.get(cfg), padding_bonus)
        if not math.isfinite(cfg):
            raise ValueError(f"cfg is {cfg} (expected a number)")
        return SpeechOptions(temperature, None if cfg == 1 else cfg, None, padding_bonus)


@dataclass
class _Job:
    """A text that is being said to its end."""

    script: LiveText
    voice: VoicePrompt
    seed: int
    session: Session | None = None

    def __post_init__(self) -> None:
        self._sound = [np.zeros(0, np.float32)]

    @property
    def news(self) -> bool:
        return bool(self.session.chunks) or self.session.over

    def take(self, progress: Callable[[Chunk], None] | None) -> None:
        """The sound that came since; raises what ended the session."""
        raise_error(self.session)
        with self.session.changed:
            chunks = list(self.session.chunks)
            self.session.chunks.clear()
        for chunk in chunks:
            self._sound.append(chunk.audio)
            if progress:
                progress(chunk)

    def speech(self, sample_rate: int) -> Speech:
        return Speech(np.concatenate(self._sound), sample_rate, self.session.words)


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
