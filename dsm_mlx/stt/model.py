"""The public face of speech to text: a loaded model that transcribes and opens streams."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from dsm_mlx.audio import AudioFile, read
from dsm_mlx.loading.core import open_core
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.options import TurnPolicy
from dsm_mlx.results import Event, Transcript
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.waiting import Both
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.recordings import Progress, Recordings, as_transcript
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.stream import TranscriptStream

log = logging.getLogger("dsm_mlx")

Audio = str | Path | np.ndarray


class SpeechToText:
    """A speech-to-text model. Any number of threads may use it at once."""

    def __init__(self, core: SttCore, max_streams: int):
        self._core = core
        self.max_streams = max_streams
        self._streams: weakref.WeakSet[TranscriptStream] = weakref.WeakSet()
        self._opening = threading.Lock()
        if core.bundled:
            log.warning(
                "using the bundled model `tiny`: it knows synthetic English voices only; for "
                "people's voices pass a real model, such as --model stt-1b"
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
    ) -> SpeechToText:
        """See `dsm_mlx.load_stt`."""
        return cls(*open_core(SttCore, model, "stt", options, revision, max_streams, progress))

    @property
    def name(self) -> str:
        """What the model is known by: a folder or a repository of the hub."""
        return self._core.name

    @property
    def sample_rate(self) -> int:
        """Samples a second that `TranscriptStream.feed` expects: 24000."""
        return self._core.codec.config.sample_rate

    @property
    def frame_rate(self) -> float:
        """Steps a second: 12.5."""
        return self._core.codec.config.frame_rate

    @property
    def delay(self) -> float:
        """Seconds by which words lag, unless a stream asks for another delay."""
        return self._core.config.delay

    @property
    def delays(self) -> tuple[float, ...]:
        """The delays that a stream may ask for; empty for a model that takes any."""
        return self._core.delays

    @property
    def languages(self) -> list[str]:
        """As two letters each."""
        return list(self._core.config.languages)

    @property
    def pauses(self) -> bool:
        """Whether the model itself predicts pauses; without, they are told from the level."""
        return self._core.heads

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def stream(
        self,
        delay: float | None = None,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        turns: TurnPolicy | None = None,
    ) -> TranscriptStream:
        """Open a live stream; use it in a `with` block or close it.

        Args:
            delay: seconds by which the words lag, for models that take it as an input (the
                nearest value they know is used).
            temperature: of the sampling of words; 0 takes the most likely one.
            seed: makes sampling repeatable.
            turns: when a turn ends.

        Raises:
            ValueError: a value out of range, or a delay on a model that has one only.
            BusyError: no row is free.
        """
        session = self._session(delay, temperature, seed, turns)
        worker.run(self._core.batch.join, session)
        return self._opened(session)

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        *,
        sample_rate: int | None = None,
        delay: float | None = None,
        batch: int = 8,
        progress: Callable[[float], None] | None = None,
        temperature: float = 0.0,
        seed: int | Sequence[int] | None = None,
    ) -> Transcript | list[Transcript]:
        """Transcribe a recording of any length, or a list of them as one batch.

        audio: a path, or an array (samples,) or (samples, channels) with its `sample_rate`.
        delay, temperature, seed: as in `stream`. batch: how many recordings of a list are heard
        at the same time. progress: called with the seconds of audio heard since the last call.
        Raises AudioError for sound that cannot be read.
        """
        single = isinstance(audio, (str, Path, np.ndarray))
        items = [audio] if single else list(audio)
        heard: list[list[Event]] = [[] for _ in items]
        durations = [0.0] * len(items)
        events = self.transcribe_events(
            items,
            sample_rate=sample_rate,
            delay=delay,
            batch=batch,
            temperature=temperature,
            seed=seed,
        )
        with closing(events):
            for part in events:
                if part.error:
                    raise part.error
                heard[part.index] += part.events
                durations[part.index] += part.seconds
                if progress:
                    progress(part.seconds)
        results = [as_transcript(events, d) for events, d in zip(heard, durations, strict=True)]
        return results[0] if single else results

    async def atranscribe(self, audio: Audio | Sequence[Audio], **options):
        """As `transcribe`, without blocking the event loop. Cancelling it frees the rows."""
        stopped = threading.Event()
        told = options.pop("progress", None)

        def progress(seconds: float) -> None:
            if stopped.is_set():
                raise _StoppedError
            if told:
                told(seconds)

        try:
            return await asyncio.to_thread(self.transcribe, audio, progress=progress, **options)
        except asyncio.CancelledError:
            stopped.set()
            raise

    def transcribe_events(
        self,
        audio: Sequence[Audio],
        *,
        sample_rate: int | None = None,
        delay: float | None = None,
        batch: int = 8,
        temperature: float = 0.0,
        seed: int | Sequence[int] | None = None,
    ) -> Both[Progress]:
        """Transcribe a list of recordings, giving out events as they become known.

        Arguments as in `transcribe`. For `for` and for `async for`; `close` ends it and frees the
        rows. A recording that cannot be read ends with its error and does not disturb the others.
        """
        if batch < 1:
            raise ValueError(f"batch is {batch} (expected at least 1)")
        items = list(audio)
        seeds = list(seed) if isinstance(seed, (list, tuple)) else [seed] * len(items)
        if len(seeds) != len(items):
            raise ValueError(f"{len(seeds)} seeds for {len(items)} recordings")
        self._core.nearest_delay(delay)

        def new_session(index: int, changed: threading.Condition) -> Session:
            session = self._session(
                delay, temperature, seeds[index], None, live=False, changed=changed
            )
            worker.run(self._core.batch.join, session)
            return session

        sounds = [partial(_blocks, item, sample_rate, self.sample_rate) for item in items]
        recordings = Recordings(sounds, new_session, batch)
        return Both(recordings.events(), recordings.stop)

    def hear(self, items: Sequence[Audio], **options) -> Both[Progress]:
        """The older name of `transcribe_events`."""
        warnings.warn("hear is called transcribe_events now", DeprecationWarning, stacklevel=2)
        return self.transcribe_events(items, **options)

    def _session(
        self, delay, temperature, seed, turns, *, live: bool = True, changed=None
    ) -> Session:
        if not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature is {temperature} (expected 0 or more)")
        core = self._core
        delay = core.nearest_delay(delay)
        return Session(
            worker.run(core.beginning, delay, temperature, seed),
            core.tokenizer,
            core.timing(delay),
            turns,
            sampled=temperature > 0,
            live=live,
            changed=changed,
        )

    def _opened(self, session: Session) -> TranscriptStream:
        stream = TranscriptStream(session, self._streams.discard, None, None)
        self._streams.add(stream)
        return stream


class _StoppedError(Exception):
    """The task that waits has been cancelled."""


def _blocks(audio: Audio, sample_rate: int | None, target: int) -> Iterator[np.ndarray]:
    if isinstance(audio, np.ndarray):
        yield read(audio, sample_rate, target)
        return
    with AudioFile(audio, target) as file:
        yield from file.blocks()
