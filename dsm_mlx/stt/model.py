"""The public face of speech to text: a loaded model that transcribes and opens streams."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, overload

import numpy as np

from dsm_mlx.checks import check_whole, for_each
from dsm_mlx.options import Gain, Prompt, TurnPolicy
from dsm_mlx.results import Event, ModelInfo, Transcript
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.handle import Handle
from dsm_mlx.runtime.piping import Piped
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.waiting import Both, in_thread
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.stt import saving
from dsm_mlx.stt.asked import Asked
from dsm_mlx.stt.boost import Phrases
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.reading import Channels, Reading
from dsm_mlx.stt.recordings import Progress, Recordings, as_transcript
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.stream import TranscriptStream

Audio = Any
"""A recording: see `dsm_mlx.audio.Sound` for all that it may be."""


class SpeechToText(Handle[SttCore, TranscriptStream]):
    """A speech-to-text model. Any number of threads and event loops may use it at once.

    It is a handle: what was loaded is shared by all handles of the same files and options, and its
    memory goes with the last one. Use it in a `with` block, `close` it, or let it be dropped.
    """

    @property
    def sample_rate(self) -> int:
        """Samples a second that `TranscriptStream.feed` expects: 24000."""
        return self._core.sample_rate

    @property
    def frame_rate(self) -> float:
        """Steps a second: 12.5."""
        return self._core.frame_rate

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
        """The languages that the model hears, as two letters each."""
        return list(self._core.languages)

    @property
    def pauses(self) -> bool:
        """Whether the model itself predicts pauses; without, they are told from the level."""
        return self._core.heads

    @property
    def info(self) -> ModelInfo:
        """What the model is: its name, kind, size, languages and so on."""
        return self._core.info

    # ---- streams

    def stream(
        self,
        delay: float | None = None,
        *,
        temperature: float = 0.0,
        seed: int | None = None,
        turns: TurnPolicy | None = None,
        wait: float = 0.0,
        prompt: Prompt | None = None,
        boost: Phrases | None = None,
        gain: Gain = None,
        live: bool = True,
    ) -> TranscriptStream:
        """Open a live stream; use it in a `with` block or close it.

        Args:
            delay: seconds by which the words lag, for models that take it as an input (the
                nearest value they know is used).
            temperature: of the sampling of words; 0 takes the most likely one.
            seed: makes sampling repeatable.
            turns: when a turn ends.
            wait: seconds to wait for a stream to be closed where all are in use.
            prompt: what comes before the sound, see `Prompt`. It is heard once, and kept for other
                streams that begin with it; after a reset its sound is heard again.
            boost: phrases or names to prefer, or phrase -> how much, 0 to 20 (None: 5). See
                docs/hearing.md.
            gain: "auto" brings speech that is far too soft or too loud to a level that models
                know, and takes away an offset; sound of a right level stays as it is, bit for bit.
                The first soft frames of speech, six at most, wait until their level is known.
            live: False: nobody waits for its words, so that it uses spare rows and waits for them,
                as recordings do.

        Raises:
            ValueError, TypeError: a value out of range, or a delay on a model that has one only.
            AudioError: a prompt's sound that cannot be read.
            BusyError: all `max_streams` are in use, or there is no memory for another row.
        """
        core = self._core
        asked = Asked.of(core, delay, temperature, turns, prompt, boost, gain).drawn_by(seed)
        return self._open(asked.session(core, live=live), core.batch, wait)

    def listen(
        self, source: Iterable[np.ndarray] | AsyncIterable[np.ndarray], **options: Any
    ) -> Piped[Event]:
        """The events of a source of sound, for `for` and for `async for`.

        source: an iterable of pcm as `TranscriptStream.push` takes it (read in a thread under
            `async for`), or an async iterable (for `async for` only).
        options: as for `stream`, which is owned: it is closed whatever happens.
        """
        return Piped(self.stream(**options), source)

    def resume(self, data: bytes, *, live: bool = True) -> TranscriptStream:
        """Go on with a stream that `TranscriptStream.save` gave, from the very sample.

        Exact on the same kind of device and precision, in any process. live: as in `stream`.

        Raises:
            ValueError: it is no saved stream, or one of another model, bits, dtype or cache.
            BusyError: no row is free.
        """
        core = self._core
        saved = saving.Saved(data, core.identity)
        session = Asked.restored(saved.options, core).session(core, live=live)
        session.beginning = worker.run_pieces(saved.state(session.beginning))
        saving.restore(session, saved.values())
        return self._open(session, core.batch, 0.0)

    # ---- recordings

    @overload
    def transcribe(
        self,
        audio: list[Any] | tuple[Any, ...],
        *,
        sample_rate: float | None = None,
        delay: float | None = None,
        batch: int = 8,
        progress: Callable[[float], None] | None = None,
        temperature: float = 0.0,
        seed: int | Sequence[int | None] | None = None,
        prompt: Prompt | None = None,
        boost: Phrases | None = None,
        gain: Gain = None,
        channels: Channels = "mix",
        speakers: Sequence[str] | None = None,
        track: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> list[Transcript]: ...
    @overload
    def transcribe(
        self,
        audio: Audio,
        *,
        sample_rate: float | None = None,
        delay: float | None = None,
        batch: int = 8,
        progress: Callable[[float], None] | None = None,
        temperature: float = 0.0,
        seed: int | Sequence[int | None] | None = None,
        prompt: Prompt | None = None,
        boost: Phrases | None = None,
        gain: Gain = None,
        channels: Channels = "mix",
        speakers: Sequence[str] | None = None,
        track: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> Transcript: ...
    def transcribe(
        self,
        audio: Any,
        *,
        sample_rate: float | None = None,
        delay: float | None = None,
        batch: int = 8,
        progress: Callable[[float], None] | None = None,
        temperature: float = 0.0,
        seed: int | Sequence[int | None] | None = None,
        prompt: Prompt | None = None,
        boost: Phrases | None = None,
        gain: Gain = None,
        channels: Channels = "mix",
        speakers: Sequence[str] | None = None,
        track: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> Any:
        """Transcribe a recording of any length, or a list of them as one batch.

        Args:
            audio: a path, a file object, the bytes of a sound file, or an array (samples,) or
                (samples, channels) with its `sample_rate`; or a list of such.
            delay, temperature, prompt, boost, gain: as in `stream`.
            seed: one, or a list for a list.
            batch: how many recordings of a list are heard at the same time. They use rows that no
                stream needs, and wait for them.
            progress: called with the seconds of audio heard since the last call.
            channels: "mix" hears all channels as one; "split" hears each by itself, on a row of its
                own, and every word, pause and turn has its `speaker`.
            speakers: the names of the channels, in their order, with "split"; a channel without
                one is "channel 1", "channel 2", …
            track: which sound track, of a video or another container that has several.
            start, end: seconds of the file between which it is heard; None: to its end. All times
                stay those of the file.

        Returns a `Transcript`, or a list of them for a list. Raises AudioError for sound that
        cannot be read.
        """
        single = not isinstance(audio, (list, tuple))
        items = [audio] if single else list(audio)
        heard: list[list[Event]] = [[] for _ in items]
        durations = [start] * len(items)
        parts = self.transcribe_events(
            items,
            sample_rate=sample_rate,
            delay=delay,
            batch=batch,
            temperature=temperature,
            seed=seed,
            prompt=prompt,
            boost=boost,
            gain=gain,
            channels=channels,
            speakers=speakers,
            track=track,
            start=start,
            end=end,
        )
        with closing(parts):
            for part in parts:
                if part.error:
                    raise part.error
                heard[part.index] += part.events
                durations[part.index] += part.seconds
                if progress:
                    progress(part.seconds)
        results = [as_transcript(events, d) for events, d in zip(heard, durations, strict=True)]
        return results[0] if single else results

    @overload
    async def atranscribe(
        self, audio: list[Any] | tuple[Any, ...], **options: Any
    ) -> list[Transcript]: ...
    @overload
    async def atranscribe(self, audio: Audio, **options: Any) -> Transcript: ...
    async def atranscribe(self, audio: Any, **options: Any) -> Any:
        """As `transcribe`, without blocking the event loop. Cancelling it frees the rows.

        `progress` is called on another thread.
        """
        return await in_thread(self.transcribe, audio, **options)

    def transcribe_events(
        self,
        audio: Sequence[Audio] | Iterator[Audio],
        *,
        sample_rate: float | None = None,
        delay: float | None = None,
        batch: int = 8,
        temperature: float = 0.0,
        seed: int | Sequence[int | None] | None = None,
        prompt: Prompt | None = None,
        boost: Phrases | None = None,
        gain: Gain = None,
        channels: Channels = "mix",
        speakers: Sequence[str] | None = None,
        track: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> Both[Progress]:
        """Transcribe a list of recordings, giving out events as they become known.

        Arguments as in `transcribe`. For `for` and for `async for`; `close` ends it and frees the
        rows. A recording that cannot be read ends with its error and does not disturb the others.

        An iterator instead of a list is asked for the next recording when there is room for one, so
        that there may be any number; `seed` is one for all then, or None.
        """
        core = self._core
        check_whole("batch", batch, 1)
        asked = Asked.of(core, delay, temperature, None, prompt, boost, gain)
        each = _for_each_recording(asked, audio, seed)

        def new_session(index: int, changed: Changed) -> Session:
            return each(index).session(core, live=False, changed=changed)

        reading = Reading.of(
            sample_rate,
            self.sample_rate,
            channels=channels,
            speakers=speakers,
            track=track,
            start=start,
            end=end,
        )
        items = audio if isinstance(audio, Iterator) else list(audio)
        sounds = (partial(reading.rows, item) for item in items)
        recordings = Recordings(sounds, new_session, core.batch, batch, start)
        return Both(recordings.events(), recordings.stop)

    def hear(self, items: Sequence[Audio], **options: Any) -> Both[Progress]:
        """The older name of `transcribe_events`."""
        warnings.warn("hear is called transcribe_events now", DeprecationWarning, stacklevel=2)
        return self.transcribe_events(items, **options)

    # ---- within

    def _stream_of(self, session: Session) -> TranscriptStream:
        return TranscriptStream(
            session,
            self._closed_stream,
            partial(self._save, session),
            partial(self._fork, session),
        )

    def _save(self, session: Session) -> bytes:
        core = self._core

        def known() -> tuple[Any, dict[str, Any]]:
            state = core.batch.value(session)
            with session.changed:
                return state, saving.plain(session)

        def parts() -> Pieces[tuple[memoryview, dict[str, Any]]]:
            state, values = known()
            yield  # copying a row is a turn, and writing it another
            return saving.packed(state), values

        arrays, values = worker.run_pieces(parts())
        return saving.to_bytes(arrays, values, session.options, core.identity)

    def _fork(self, session: Session) -> TranscriptStream:
        core = self._core

        def forked() -> Session:
            other = session.again(core.batch.value(session))
            with session.changed:
                saving.restore(other, saving.plain(session))
            return other

        return self._open(worker.run(forked), core.batch, 0.0)


def _for_each_recording(asked: Asked, audio: Any, seed: Any) -> Callable[[int], Asked]:
    """What is asked of each recording, by its index. TypeError or ValueError for what is no list,
    or for seeds that do not fit."""
    if isinstance(audio, (list, tuple)):
        seeds = for_each("seeds", seed, len(audio), "recordings")
        return [asked.drawn_by(one) for one in seeds].__getitem__
    if not isinstance(audio, Iterator):
        raise TypeError(f"audio is {type(audio).__name__} (expected a list of recordings)")
    asked.drawn_by(seed)  # which tells what is wrong with it
    return lambda index: asked.drawn_by(seed)
