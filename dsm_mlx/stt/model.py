"""The public face of speech to text: a loaded model that transcribes and opens streams."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.audio import AudioFile, read
from dsm_mlx.errors import AudioError, CheckpointError
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.results import EndOfTurn, Event, Pause, Transcript, Word
from dsm_mlx.runtime import worker
from dsm_mlx.stt.config import SttConfig
from dsm_mlx.stt.engine import Batch
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.step import SttStep
from dsm_mlx.stt.stream import TranscriptStream
from dsm_mlx.stt.words import settle_ends

log = logging.getLogger("dsm_mlx")

Audio = str | Path | np.ndarray
_AT_ONCE = 25  # frames in one job of the owner thread


class SpeechToText:
    """A speech-to-text model. Holds weights only: any number of streams share it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        bits: int | None = None,
        dtype: str | None = None,
        cache: str | None = None,
    ):
        self.name = checkpoint.name
        config = SttConfig.read(checkpoint.config)
        lm = checkpoint.load_lm(bits, dtype, cache=cache)
        if lm.config.dep_q:
            raise CheckpointError(f"{self.name}: a text-to-speech model (expected speech-to-text)")
        mimi = checkpoint.load_codec_for(lm, lm.config.n_q, decoder=False)
        self._lm, self._mimi = lm, mimi.config
        self._tokenizer = checkpoint.load_tokenizer()
        self._step = SttStep(lm, mimi)
        self._prefix = round(config.prefix * self._mimi.sample_rate)
        self.delay, self.languages = config.delay, list(config.languages)
        if checkpoint.files.bundled:
            log.warning(
                "using the bundled model `tiny`: it knows synthetic English voices only; for "
                "people's voices pass a real model, such as --model stt-1b"
            )

    @property
    def sample_rate(self) -> int:
        """Samples a second that `TranscriptStream.feed` expects: 24000."""
        return self._mimi.sample_rate

    @property
    def frame_rate(self) -> float:
        """Steps a second: 12.5."""
        return self._mimi.frame_rate

    @property
    def pauses(self) -> bool:
        """Whether the model itself predicts pauses; without, they are told from the level."""
        return self._lm.config.extra_heads > 0

    def stream(self, delay: float | None = None) -> TranscriptStream:
        """Open a live stream; use it in a `with` block or close it.

        delay: seconds by which the words lag, for models that take it as an input (the nearest
            value they know is used). ValueError for another delay on a model that does not.
        """
        rows = Batch(self._step, 1)
        condition, delay = self._choose_delay(delay)
        return TranscriptStream(rows, lambda: self._session(delay), condition)

    def transcribe(
        self,
        audio: Audio | Sequence[Audio],
        *,
        sample_rate: int | None = None,
        delay: float | None = None,
        batch: int = 8,
        progress: Callable[[float], None] | None = None,
    ) -> Transcript | list[Transcript]:
        """Transcribe a recording of any length, or a list of them as one batch.

        audio: a path, or an array (samples,) or (samples, channels) with its `sample_rate`.
        delay: as in `stream`. batch: how many recordings of a list run in lockstep.
        progress: called with the seconds of audio heard since the last call.
        Raises AudioError for sound that cannot be read.
        """
        single = isinstance(audio, (str, Path, np.ndarray))
        items = [audio] if single else list(audio)
        heard: list[list[Event]] = [[] for _ in items]
        durations = [0.0] * len(items)
        chunks = self.transcribe_events(items, sample_rate=sample_rate, delay=delay, batch=batch)
        with closing(chunks):
            for chunk in chunks:
                if chunk.error:
                    raise chunk.error
                heard[chunk.index] += chunk.events
                durations[chunk.index] += chunk.seconds
                if progress:
                    progress(chunk.seconds)
        results = [as_transcript(events, d) for events, d in zip(heard, durations, strict=True)]
        return results[0] if single else results

    def transcribe_events(
        self,
        items: Sequence[Audio],
        *,
        sample_rate: int | None = None,
        delay: float | None = None,
        batch: int = 8,
    ) -> Iterator[Progress]:
        """Transcribe a list of recordings, giving out events as they become known.

        Arguments as in `transcribe`. A recording that cannot be read ends with its error and
        does not disturb the others.
        """
        if batch < 1:
            raise ValueError(f"batch is {batch} (expected at least 1)")
        condition, delay = self._choose_delay(delay)
        waiting = iter(range(len(items)))
        rows = Batch(self._step, max(1, min(batch, len(items))))
        recordings: dict[int, _Recording] = {}
        try:
            while True:
                newcomers = {}
                for row, index in zip(rows.free, waiting, strict=False):
                    session = self._session(delay)
                    blocks = _blocks(items[index], sample_rate, self.sample_rate)
                    recordings[row] = _Recording(index, session, blocks)
                    newcomers[row] = session
                if newcomers:
                    rows.join(newcomers, condition)
                if not recordings:
                    return
                yield from self._advance(rows, recordings)
        finally:
            for recording in recordings.values():
                recording.blocks.close()
            rows.close()

    def _advance(self, rows: Batch, recordings: dict[int, _Recording]):
        """Let every row hear a little, and free those that have heard it all."""
        seconds = {row: recording.top_up(_AT_ONCE) for row, recording in recordings.items()}
        events = rows.run(_AT_ONCE)
        for row, recording in list(recordings.items()):
            new = events[row]
            if recording.ended and not recording.session.frames_waiting:
                new = new + recording.session.finish()
                rows.leave(row)
                del recordings[row]
                yield Progress(recording.index, new, seconds[row], True, recording.error)
            else:
                yield Progress(recording.index, new, seconds[row])

    def _session(self, delay: float) -> Session:
        return Session(
            tokenizer=self._tokenizer,
            delay=round(delay * self.frame_rate),
            prefix=self._prefix,
            heads=self.pauses,
            mimi_config=self._mimi,
        )

    def _choose_delay(self, wanted: float | None) -> tuple[mx.array | None, float]:
        """The model's condition for a delay, and the delay it stands for."""
        delay = self.delay if wanted is None else float(wanted)
        if not (math.isfinite(delay) and delay >= 0):
            raise ValueError(f"delay is {delay} (expected seconds from 0 up)")
        conditioners = self._lm.config.conditioners
        config = conditioners.by_name.get("delay")
        if not config and delay != self.delay:
            raise ValueError(f"delay is {delay} (this model has a fixed delay of {self.delay} s)")
        if not conditioners.by_name:
            return None, delay
        values: dict[str, str | float] = {}
        if config and config.kind == "lut":
            name = min(config.values, key=lambda value: abs(float(value) - delay))
            values["delay"], delay = name, float(name)
        elif config:
            values["delay"] = -delay
        return worker.run(self._condition, values), delay

    def _condition(self, values: dict) -> mx.array | None:
        condition = self._lm.condition_provider.sum(values)
        if condition is not None:
            mx.eval(condition)
        return condition


@dataclass(frozen=True)
class Progress:
    """Some more of a recording: its index, new events, and the seconds of sound they cost.

    last: nothing more comes of this recording. error: why its sound could not be read to the end.
    """

    index: int
    events: list[Event]
    seconds: float
    last: bool = False
    error: AudioError | None = None


class _Recording:
    """A recording in a row: where its sound comes from and whether all of it was fed."""

    def __init__(self, index: int, session: Session, blocks: Iterator[np.ndarray]):
        self.index, self.session, self.blocks = index, session, blocks
        self.ended = False
        self.error: AudioError | None = None

    def top_up(self, frames: int) -> float:
        """Read until `frames` frames wait, or to the end; returns the seconds read."""
        before = self.session.seconds_given
        while not self.ended and self.session.frames_waiting < frames:
            try:
                block = next(self.blocks, None)
            except AudioError as error:
                block, self.error = None, error
            if block is None:
                self.ended = True
                self.session.drain()
            else:
                self.session.feed(block)
        return self.session.seconds_given - before


def as_transcript(events: Sequence[Event], duration: float) -> Transcript:
    """All events of a recording -> its transcript."""
    words = settle_ends(event for event in events if isinstance(event, Word))
    pauses = [event for event in events if isinstance(event, Pause)]
    turns = [event for event in events if isinstance(event, EndOfTurn)]
    return Transcript(" ".join(word.text for word in words), words, pauses, turns, duration)


def _blocks(audio: Audio, sample_rate: int | None, target: int) -> Iterator[np.ndarray]:
    if isinstance(audio, np.ndarray):
        yield read(audio, sample_rate, target)
        return
    with AudioFile(audio, target) as file:
        yield from file.blocks()


def load_stt(
    model: str | Path | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    cache: str | None = None,
) -> SpeechToText:
    """Load a speech-to-text model; see `dsm_mlx.load_stt`."""
    checkpoint = Checkpoint.find(model, "stt", revision)
    return worker.run(SpeechToText, checkpoint, bits, dtype, cache)
