"""A live stream: push sound, get events."""

from __future__ import annotations

import threading
from collections.abc import Callable

import mlx.core as mx
import numpy as np

from dsm_mlx.errors import AudioError
from dsm_mlx.results import Event
from dsm_mlx.runtime import worker
from dsm_mlx.stt.engine import Batch
from dsm_mlx.stt.session import Session

_AT_ONCE = (
    25  # frames in one job of the owner thread: long enough to pipeline, short enough to share
)


class TranscriptStream:
    """Speech to text as the sound comes in. Made by `SpeechToText.stream`.

    Leaving a `with` block flushes: the events of that last flush are in `rest`. Methods may be
    called from any thread; they run one at a time.
    """

    def __init__(self, rows: Batch, new_session: Callable[[], Session], condition: mx.array | None):
        self._rows, self._condition = rows, condition
        self._session = new_session()
        self._lock = threading.Lock()
        self._closed = False
        self._found: list[Event] = []  # not yet returned
        self.rest: list[Event] = []
        rows.join({0: self._session}, condition)

    def feed(self, pcm: np.ndarray) -> list[Event]:
        """Hear more sound.

        pcm: float32 mono (samples,) at `SpeechToText.sample_rate`, any number of samples; what
            does not fill a frame waits for the next call.
        Returns the events that became known, oldest first. Raises AudioError for NaN or infinite
        samples and ValueError for another shape or type or a closed stream; the stream goes on.
        """
        pcm = check_pcm(pcm)
        with self._lock:
            self._check_open()
            worker.run(self._session.feed, pcm)
            return self._run()

    def flush(self) -> list[Event]:
        """Everything spoken so far, without waiting out the delay.

        The model is given the delay's worth of silence and a second more, faster than real time;
        the clock does not count it, and the stream goes on.
        """
        with self._lock:
            self._check_open()
            return self._flush()

    def reset(self) -> list[Event]:
        """Forget the context and keep the weights; times go on.

        No word is lost: returns what a flush gives, before forgetting.
        """
        with self._lock:
            self._check_open()
            events = self._flush()
            self._rows.join({0: self._session}, self._condition)
            self._session.restart()
            return events

    def close(self) -> None:
        """Stop without a flush and give the memory back."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._rows.close()

    @property
    def partial_word(self) -> str:
        """The word in progress, as far as it is known; it becomes a Word when it is complete."""
        return self._session.partial_word

    def _flush(self) -> list[Event]:
        worker.run(self._session.drain)
        return self._run() + self._session.finish()

    def _run(self) -> list[Event]:
        # Ctrl-C ends our waiting, not the job that we wait for: the session is touched on the
        # owner thread only, and what the job finds is there for the next call.
        while self._session.frames_waiting:
            worker.run(self._hear)
        found, self._found = self._found, []
        return found

    def _hear(self) -> None:
        self._found += self._rows.run(_AT_ONCE)[0]

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the stream is closed")

    def __enter__(self) -> TranscriptStream:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None and not self._closed:
            self.rest = self.flush()
        self.close()


def check_pcm(pcm: np.ndarray) -> np.ndarray:
    """`pcm` as float32 (samples,), or an error that says what was expected."""
    array = np.asarray(pcm)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
        raise ValueError(
            f"pcm is {array.dtype} of shape {array.shape} (expected float32 mono, one dimension)"
        )
    array = array.astype(np.float32)  # a copy: the caller may reuse its buffer
    if not np.isfinite(array).all():
        raise AudioError("pcm holds NaN or infinite samples (expected values from -1 to 1)")
    return array
