"""The public face of text to speech: a loaded model that speaks and opens streams."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from dataclasses import dataclass
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
from dsm_mlx.runtime.waiting import in_thread, raise_error, stopped_by_caller
from dsm_mlx.tts.core import TtsCore
from dsm_mlx.tts.prompt import SpeechOptions, VoicePrompt
from dsm_mlx.tts.session import LiveText, Session
from dsm_mlx.tts.stream import SpeechStream

Turns = Sequence[tuple[Voice | None, str]]
Text = str | Turns
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
        """What the model is."""
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
            padding_bonus: above 0 for slower speech.
            progress: called with every chunk of sound.

        Raises:
            ValueError: an unknown tag in the text, or a value out of range.
            CheckpointError: a voice that cannot be found or does not fit.
        """
        single = isinstance(text, str) or _is_dialogue(text)
        if not single and not isinstance(text, (list, tuple)):
            raise TypeError(f"text is {shown(text)} (expected str or a list)")
        check_whole("batch", batch, 1)
        texts: list[Any] = [text] if single else list(text)
        voices = for_each("voices", voice, len(texts), "texts")
        seeds = for_each("seeds", seed, len(texts), "texts")
        options = self._options(temperature, cfg, padding_bonus)
        jobs = [
            self._job(*turns, seed)
            for turns, seed in zip(map(_turns, texts, voices), seeds, strict=True)
        ]
        results = self._say(jobs, options, batch, progress)
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
    ) -> SpeechStream:
        """Open a live stream; use it in a `with` block or cancel it.

        wait: seconds to wait for a stream to be closed where all are in use. All else is as in
        `synthesize`. Raises BusyError where all `max_streams` are in use, or there is no memory
        for another row.
        """
        core, options = self._core, self._options(temperature, cfg, padding_bonus)
        prompt, script = self._voice([voice]), core.script()
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

    def _say(
        self,
        jobs: list[_Job],
        options: SpeechOptions,
        batch: int,
        progress: Callable[[Chunk], None] | None,
    ) -> list[Speech]:
        """Say all of it, at most `batch` texts at a time."""
        waiting, changed = deque(enumerate(jobs)), Changed()
        running: list[_Saying] = []
        said: dict[int, Speech] = {}
        given_up = threading.Event()

        def give_up() -> None:
            given_up.set()
            changed.notify_all()

        try:
            with stopped_by_caller(give_up):
                while (waiting or running) and not given_up.is_set():
                    while waiting and len(running) < batch:
                        index, job = waiting.popleft()
                        session = self._session(job, options, changed)
                        running.append(_Saying(index, session))
                        # After that, so that Ctrl-C, whenever it comes, leaves no row taken.
                        worker.run(session.home.join, session)
                    worker.post()
                    worker.check()
                    changed.wait_for(lambda: given_up.is_set() or any(r.news for r in running))
                    for saying in [saying for saying in running if saying.news]:
                        over = saying.session.over
                        saying.take(progress)
                        if over:
                            said[saying.index] = saying.speech(self.sample_rate)
                            worker.post(saying.session.stop)
                            running.remove(saying)
        finally:
            for saying in running:
                worker.post(saying.session.stop)
        return [said[index] for index in range(len(jobs))]

    def _session(self, job: _Job, options: SpeechOptions, changed: Changed) -> Session:
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
        self, voices: list[Voice | None], turns: list[tuple[int, str]], seed: int | None
    ) -> _Job:
        script = self._core.script()
        for speaker, text in turns:
            script.turn(speaker)
            script.feed(text)
        script.end()
        if script.nothing_said:
            what = ", ".join(script.left_out)
            log.warning("nothing of the text can be said%s", f" ({what})" if what else "")
        return _Job(script, self._voice(voices), _seed(seed))

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

    def _options(
        self, temperature: float | None, cfg: float | None, padding_bonus: float
    ) -> SpeechOptions:
        core = self._core
        temperature = core.config.temperature if temperature is None else temperature
        cfg = core.guidance if cfg is None else cfg
        temperature = check_number("temperature", temperature, 0.0, 100.0)
        padding_bonus = check_number("padding_bonus", padding_bonus, -1000.0, 1000.0)
        if cfg is not None:
            cfg = check_number("cfg", cfg, -100.0, 100.0)
        if core.cfg_names:
            if cfg is not None and cfg not in core.cfg_names:
                known = ", ".join(core.cfg_names.values())
                raise ValueError(f"cfg is {cfg} (this model knows {known})")
            name = None if cfg is None else core.cfg_names[cfg]
            return SpeechOptions(temperature, None, name, padding_bonus)
        return SpeechOptions(temperature, None if cfg == 1 else cfg, None, padding_bonus)


@dataclass
class _Job:
    """A text that is to be said to its end."""

    script: LiveText
    voice: VoicePrompt
    seed: int


class _Saying:
    """A text that is being said: its session, and the sound so far."""

    def __init__(self, index: int, session: Session):
        self.index, self.session = index, session
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
    if not isinstance(text, (list, tuple)):
        return False
    return bool(text) and all(isinstance(turn, tuple) for turn in text)


def _turns(text: Text, voice: Voice | None) -> tuple[list[Voice | None], list[tuple[int, str]]]:
    """The voices of a text, and its turns as (number of the voice, text)."""
    if isinstance(text, str):
        return [voice], [(0, text)]
    if not _is_dialogue(text) or not all(len(t) == 2 and isinstance(t[1], str) for t in text):
        raise ValueError(f"text is {shown(text)} (expected a string or a list of (voice, text))")
    voices: list[Voice | None] = []
    turns = []
    for own, said in text:
        speaker = voice if own is None else own
        known = [i for i, other in enumerate(voices) if _is_same(speaker, other)]
        if not known:
            voices.append(speaker)
        turns.append((known[0] if known else len(voices) - 1, said))
    return voices, turns


def _is_same(one: Voice | None, other: Voice | None) -> bool:
    """Names and paths by what they are; arrays, which cannot be compared so, by identity."""
    named = isinstance(one, (str, PathLike)) and isinstance(other, (str, PathLike))
    return one is other or (named and one == other)


def _seed(seed: int | None) -> int:
    check_seed(seed)
    return secrets.randbits(32) if seed is None else seed
