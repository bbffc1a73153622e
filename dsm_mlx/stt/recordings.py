"""Recordings on spare rows: their sound is read here, on the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.results import EndOfTurn, Event, Pause, Transcript, Word
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.waiting import stopped_by_caller
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.words import settle_ends

_FULL, _LOW = 25, 12  # frames that wait to be heard: read up to the first, from the second on


@dataclass(frozen=True)
class Progress:
    """Some more of a recording: its index, new events, and the seconds of sound they cost.

    last: nothing more comes of this recording. error: why it could not be heard to the end.
    """

    index: int
    events: list[Event]
    seconds: float
    last: bool = False
    error: Exception | None = None


class Recordings:
    """Recordings that are heard together, at most `batch` of them at a time.

    sounds: makes the blocks of float32 pcm (samples,) of each. new_session: makes a session, given
    the index and the condition that it tells of changes. rows: the batch that it then joins.
    """

    def __init__(
        self,
        sounds: Sequence[Callable[[], Iterator[np.ndarray]]],
        new_session: Callable[[int, Changed], Session],
        rows: Batch,
        batch: int,
    ):
        self._sounds, self._new_session = sounds, new_session
        self._rows, self._batch = rows, batch
        self._changed = Changed()
        self._running: list[_Recording] = []
        self._stopped = False
        self._post = worker.post  # at the interpreter's end `worker` is None

    def stop(self) -> None:
        """End the iteration soon, and free the rows, from any thread. Takes no lock, so that a
        finaliser and a forked process may call it."""
        self._stopped = True
        for recording in list(self._running):
            self._post(recording.session.stop)
        self._post(self._changed.notify_all)

    def events(self) -> Generator[Progress, None, None]:
        """All events, as they become known. Ending the iteration frees the rows."""
        waiting, running = iter(range(len(self._sounds))), self._running
        try:
            with stopped_by_caller(self.stop):
                while not self._stopped:
                    while len(running) < self._batch and (index := next(waiting, None)) is not None:
                        session = self._new_session(index, self._changed)
                        running.append(_Recording(index, session, self._sounds[index]))
                        # After that, so that Ctrl-C, whenever it comes, leaves no row taken.
                        worker.run(self._rows.join, session)
                    if not running:
                        return
                    yield from self._turn()
        finally:
            for recording in running:
                recording.close()

    def _turn(self) -> Iterator[Progress]:
        """Give all of them sound, and wait until something comes of it."""
        for recording in self._running:
            recording.top_up()
        worker.post()
        worker.check()
        self._changed.wait_for(lambda: self._stopped or any(r.news for r in self._running))
        for recording in list(self._running):
            progress = recording.take()
            if progress and progress.last:
                recording.close()
                self._running.remove(recording)
            if progress:
                yield progress
                worker.check()  # before a lock is taken, in what may be a forked process


class _Recording:
    """A recording that is being heard: where its sound comes from and whether all was given."""

    def __init__(self, index: int, session: Session, sound: Callable[[], Iterator[np.ndarray]]):
        self.index, self.session = index, session
        self._blocks = sound()
        self._ended = False
        self._error: Exception | None = None
        self._read = 0.0

    def top_up(self) -> None:
        """Read until enough frames wait, or to the end."""
        session = self.session
        while not self._ended and session.frames_waiting < _FULL and not session.gone:
            try:
                block = next(self._blocks, None)
                block = block if block is None else check_pcm(block)
            except ImportError:  # of what reads it: no fault of this recording
                raise
            except Exception as error:  # of the sound, or of the caller's own source of it
                block, self._error = None, error
            with session.changed:
                if block is None:
                    self._ended = True
                    session.drain()
                else:
                    session.feed(block)

    @property
    def over(self) -> bool:
        """Nothing more will come of it. With `changed` held, as `news`."""
        return self.session.error is not None or (self._ended and self.session.idle)

    @property
    def news(self) -> bool:
        """Whether it is worth while to look: more sound can be given, or more than pauses told."""
        low = not self._ended and self.session.frames_waiting <= _LOW
        told = any(not isinstance(event, Pause) for event in self.session.events)
        return low or told or self.over

    def take(self) -> Progress | None:
        """What is new of it."""
        with self.session.changed:
            now, events, over = self.session.clock.now, self.session.take_events(), self.over
        seconds, self._read = now - self._read, now
        if not (events or seconds or over):
            return None
        error = self.session.error or self._error
        return Progress(self.index, events, seconds, over, error if over else None)

    def close(self) -> None:
        if hasattr(self._blocks, "close"):
            self._blocks.close()
        worker.post(self.session.stop)


def as_transcript(events: Sequence[Event], duration: float) -> Transcript:
    """All events of a recording -> its transcript."""
    words = settle_ends(event for event in events if isinstance(event, Word))
    pauses = [event for event in events if isinstance(event, Pause)]
    turns = [event for event in events if isinstance(event, EndOfTurn)]
    return Transcript(" ".join(word.text for word in words), words, pauses, turns, duration)
