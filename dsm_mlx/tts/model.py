"""The public face of text to speech: a loaded model that speaks and opens streams."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, overload

import numpy as np

from dsm_mlx.audio.samples import as_samples
from dsm_mlx.checks import check_number, check_seed, check_whole, for_each
from dsm_mlx.loading.voices import Voice
from dsm_mlx.messages import shown
from dsm_mlx.results import Chunk, ModelInfo, Speech
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.handle import Handle
from dsm_mlx.runtime.piping import Piped
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.waiting import in_thread
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.pace import LONGEST, padding_of
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.session import Session
from dsm_mlx.tts.stream import SpeechStream
from dsm_mlx.tts.text.wording import Wording, wording_of
from dsm_mlx.tts.texts import Job, Text, Turns, is_dialogue, say, turns_of

log = logging.getLogger("dsm_mlx")


class TextToSpeech(Handle[TtsCore, SpeechStream]):
    """A text-to-speech model. Any number of threads and event loops may use it at once.

    It is a handle: what was loaded is shared by all handles of the same files and options, and its
    memory goes with the last one. Use it in a `with` block, `close` it, or let it be dropped.
    """

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
    def info(self) -> ModelInfo:
        """What the model is: its name, kind, size, languages and so on."""
        return self._core.info

    def voices(self) -> list[str]:
        """Names for `voice`. For a model of the hub, its voice repository is asked if it can be."""
        return self._core.voices.names()

    @overload
    def synthesize(
        self,
        text: Text,
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int | None] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> Speech: ...
    @overload
    def synthesize(
        self,
        text: list[str] | Sequence[Turns] | list[Text] | tuple[Text, ...],
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int | None] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> list[Speech]: ...
    def synthesize(
        self,
        text: Text | Sequence[Text],
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int | None] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> Speech | list[Speech]:
        """Say a text of any length.

        Args:
            text: a text, or a dialogue: a list of turns `(voice, text)` of up to five voices. A
                list of texts (or of dialogues, themselves lists) gives a list of results, and
                `batch` of them run in lockstep.
            voice: a name from `voices()`, a path, `hf://owner/repository/path`, or an array of an
                embedding, float32 (frames, width); None: the model's default. With a list of
                texts, one voice or a list of them.
            temperature: 0 is deterministic. None: the checkpoint's own (`lm_gen_config.temp`, 0.6
                in Kyutai's).
            cfg: strength of guidance. A model that was taught it as a condition takes only
                `cfg_values`; for others it doubles the work, and 1.0 is without. None: the
                checkpoint's own (`lm_gen_config.cfg_coef`), else 2.0 where the model was taught
                it, else 1.0.
            seed: makes a result repeatable, whatever else is in the batch.
            padding_bonus: added to the logit of padding, beside what `pace` adds; above 0 for
                slower speech.
            progress: called with every chunk of sound.
            pace: 1.0 as the model speaks, down to 0.5 slower, up to 1.5 faster; a hint, not a
                measure (docs/speaking.md).
            max_seconds: of sound at most, for each text; 0.08 or more. A text that is longer ends
                there, faded out, with the words so far and a warning in the log.
            normalize: "en" or "fr": numbers, dates, units, Markdown and addresses are said as a
                person would (docs/text.md); "auto": in the language of the text, of those that the
                model knows. The words keep their spelling. None: off. Needs
                `pip install 'dsm-mlx[text]'`.
            lexicon: what is said for certain words or rows of words, such as names.

        Raises:
            ValueError: an unknown tag in the text, or a value out of range.
            CheckpointError: a voice that cannot be found or does not fit.
        """
        single = isinstance(text, str) or is_dialogue(text)
        if not single and not isinstance(text, (list, tuple)):
            raise TypeError(f"text is {shown(text)} (expected str or a list)")
        check_whole("batch", batch, 1)
        texts: list[Any] = [text] if single else list(text)
        voices = for_each("voices", voice, len(texts), "texts")
        seeds = for_each("seeds", seed, len(texts), "texts")
        options = self._options(temperature, cfg, padding_bonus, pace, max_seconds)
        wording = self._wording(normalize, lexicon)
        jobs = [
            self._job(*turns, seed, options, wording)
            for turns, seed in zip(map(turns_of, texts, voices), seeds, strict=True)
        ]
        session = partial(self._session, options)
        results = say(jobs, session, batch, progress, self.sample_rate)
        return results[0] if single else results

    @overload
    async def asynthesize(
        self,
        text: Text,
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int | None] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> Speech: ...
    @overload
    async def asynthesize(
        self,
        text: list[str] | Sequence[Turns] | list[Text] | tuple[Text, ...],
        voice: Voice | Sequence[Voice | None] | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | Sequence[int | None] | None = None,
        padding_bonus: float = 0.0,
        batch: int = 8,
        progress: Callable[[Chunk], None] | None = None,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> list[Speech]: ...
    async def asynthesize(self, text: Any, *args: Any, **options: Any) -> Any:
        """As `synthesize`, without blocking the event loop. Cancelling it frees the rows.

        `progress` is called on another thread.
        """
        return await in_thread(self.synthesize, text, *args, **options)

    def stream(
        self,
        voice: Voice | None = None,
        *,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | None = None,
        padding_bonus: float = 0.0,
        wait: float = 0.0,
        pace: float = 1.0,
        max_seconds: float | None = None,
        normalize: str | None = None,
        lexicon: Mapping[str, str] | None = None,
    ) -> SpeechStream:
        """Open a live stream; use it in a `with` block or cancel it.

        wait: seconds to wait for a stream to be closed where all are in use. All else is as in
        `synthesize`; of `max_seconds`, `SpeechStream.cut_short` tells, too. Raises BusyError where
        all `max_streams` are in use, or there is no memory for another row.
        """
        core = self._core
        options = self._options(temperature, cfg, padding_bonus, pace, max_seconds)
        script = core.script(options, self._wording(normalize, lexicon))
        prompt = self._voice([voice])
        session = worker.run_pieces(core.session(script, prompt, options, _seed(seed)))
        return self._open(session, session.home, wait)

    def speak(
        self, source: Iterable[str] | AsyncIterable[str], voice: Voice | None = None, **options: Any
    ) -> Piped[Chunk]:
        """The sound of a source of text, for `for` and for `async for`.

        source: an iterable of pieces of text (read in a thread under `async for`), or an async
            iterable (for `async for` only).
        voice, options: as for `stream`, which is owned: it is closed whatever happens.
        """
        return Piped(self.stream(voice, **options), source)

    # ---- within

    def _stream_of(self, session: Session) -> SpeechStream:
        return SpeechStream(session, self._closed_stream, partial(self._fork, session))

    def _fork(self, session: Session) -> SpeechStream:
        home = session.home
        if home is None:
            raise session.error or ValueError("the stream is closed")
        return self._open(worker.run(lambda: session.again(home.value(session))), home, 0.0)

    def _session(self, options: SpeechOptions, job: Job, changed: Changed) -> Session:
        return worker.run_pieces(
            self._core.session(
                job.script,
                job.voice,
                options,
                job.seed,
                keep_words=True,
                live=False,
                changed=changed,
            )
        )

    def _job(
        self,
        voices: list[Voice | None],
        turns: list[tuple[int, str]],
        seed: int | None,
        options: SpeechOptions,
        wording: Wording,
    ) -> Job:
        script = self._core.script(options, wording)
        for speaker, text in turns:
            script.turn(speaker)
            script.feed(text)
        script.end()
        if script.nothing_said:
            what = ", ".join(script.left_out)
            log.warning("nothing of the text can be said%s", f" ({what})" if what else "")
        return Job(script, self._voice(voices), _seed(seed))

    def _voice(self, voices: list[Voice | None]) -> VoicePrompt:
        core = self._core
        if len(voices) > core.slots:
            raise ValueError(
                f"{len(voices)} voices in one dialogue (this model knows {core.slots})"
            )
        given = [core.voices.default() if voice is None else voice for voice in voices]
        return core.voice([self._found(voice) for voice in given if voice is not None])

    def _found(self, voice: Voice) -> Path | np.ndarray:
        if isinstance(voice, (str, PathLike)):
            return self._core.voices.find(voice)
        return as_samples(voice, "voice")  # any array of numbers, as float32

    def _wording(self, normalize: str | None, lexicon: Mapping[str, str] | None) -> Wording:
        return wording_of(normalize, lexicon, self._core.languages)

    def _options(
        self,
        temperature: float | None,
        cfg: float | None,
        padding_bonus: float,
        pace: float,
        max_seconds: float | None,
    ) -> SpeechOptions:
        core = self._core
        temperature = core.config.temperature if temperature is None else temperature
        cfg = core.guidance if cfg is None else cfg
        temperature = check_number("temperature", temperature, 0.0, 100.0)
        padding_bonus = check_number("padding_bonus", padding_bonus, -1000.0, 1000.0)
        padding = padding_of(pace)
        if max_seconds is not None:
            max_seconds = check_number("max_seconds", max_seconds, 1 / self.frame_rate, LONGEST)
        if cfg is not None:
            cfg = check_number("cfg", cfg, -100.0, 100.0)
        guidance, name = None if cfg == 1 else cfg, None
        if core.cfg_names:
            if cfg is not None and cfg not in core.cfg_names:
                known = ", ".join(core.cfg_names.values())
                raise ValueError(f"cfg is {cfg} (this model knows {known})")
            guidance, name = None, None if cfg is None else core.cfg_names[cfg]
        return SpeechOptions(temperature, guidance, name, padding_bonus, padding, max_seconds)


def _seed(seed: int | None) -> int:
    check_seed(seed)
    return secrets.randbits(32) if seed is None else seed
