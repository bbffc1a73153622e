"""Recordings on spare rows: their sound is read here, on the caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dsm_mlx import captions
from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.captions.cutting import by_speaker
from dsm_mlx.results import EndOfTurn, Event, Pause, Transcript, Word
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.session import Changed
from dsm_mlx.runtime.waiting import stopped_by_caller
from dsm_mlx.stt.reading import Row, placed
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

    sounds: gives what is to be heard of each, and is asked for the next when there is room for it.
    new_session: makes a session, given the recording's index and the condition that it tells of
    changes. rows: the batch that it then joins. start: the time in seconds at which the sound of
    each begins.
    """

    def __init__(
        self,
        sounds: Iterable[Callable[[], list[Row]]],
        new_session: Callable[[int, Changed], Session],
        rows: Batch,
        batch: int,
        start: float = 0.0,
    ):
        self._sounds, self._new_session = sounds, new_session
        self._rows, self._batch, self._start = rows, batch, start
        self._changed = Changed()
        self._running: list[_Recording] = []
        self._stopped = False
        self._post = worker.post  # at the interpreter's end `worker` is None

    def stop(self) -> None:
        """End the iteration soon, and free the rows, from any thread. Takes no lock, so that a
        finaliser and a forked process may call it."""
        self._stopped = True
        for recording in list(self._running):
            for voice in list(recording.voices):
                self._post(voice.session.stop)
        self._post(self._changed.notify_all)

    def events(self) -> Generator[Progress, None, None]:
        """All events, as they become known. Ending the iteration frees the rows."""
        waiting, running = enumerate(self._sounds), self._running
        try:
            with stopped_by_caller(self.stop):
                while not self._stopped:
                    while len(running) < self._batch and (found := next(waiting, None)):
                        self._begin(*found)
                    if not running:
                        return
                    yield from self._turn()
        finally:
            for recording in running:
                recording.close()

    def _begin(self, index: int, sound: Callable[[], list[Row]]) -> None:
        voices = [
            _Voice(self._new_session(index, self._changed), row, self._start) for row in sound()
        ]
        self._running.append(_Recording(index, voices))
        # After that, so that Ctrl-C, whenever it comes, leaves no row taken.
        for voice in voices:
            worker.run(self._rows.join, voice.session)

    def _turn(self) -> Iterator[Progress]:
        """Give all of them sound, and wait until something comes of it."""
        for recording in self._running:
            for voice in recording.voices:
                voice.top_up()
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
    """A recording that is being heard, by one row or by one for each channel.

    voices: those of which more will come.
    """

    def __init__(self, index: int, voices: list[_Voice]):
        self.index, self.voices = index, voices
        self._all = tuple(voices)
        self._told = 0.0  # seconds

    @property
    def news(self) -> bool:
        """Whether it is worth while to look. With `changed` held."""
        return any(voice.news for voice in self.voices)

    def take(self) -> Progress | None:
        """What is new of it. Its sound has been read as far as that of its slowest row."""
        events: list[Event] = []
        error: Exception | None = None
        for voice in list(self.voices):
            new, over = voice.take()
            events += new
            if over:
                error = error or voice.error
                self.voices.remove(voice)
                voice.close()
        now = min(voice.now for voice in self._all)
        seconds, self._told = now - self._told, now
        over = error is not None or not self.voices
        if not (events or seconds or over):
            return None
        return Progress(self.index, events, seconds, over, error)

    def close(self) -> None:
        for voice in self.voices:
            voice.close()


class _Voice:
    """One row of a recording: where its sound comes from and whether all was given.

    now: the seconds of sound that were read. error: why it ended early.
    """

    def __init__(self, session: Session, row: Row, start: float):
        self.session, self._row, self._start = session, row, start
        self.error: Exception | None = None
        self.now = 0.0
        self._ended = False

    def top_up(self) -> None:
        """Read until enough frames wait, or to the end."""
        session = self.session
        while not self._ended and session.frames_waiting < _FULL and not session.gone:
            try:
                block = next(self._row.blocks, None)
                block = block if block is None else check_pcm(block)
            except ImportError:  # of what reads it: no fault of this recording
                raise
            except Exception as error:  # of the sound, or of the caller's own source of it
                block, self.error = None, error
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

    def take(self) -> tuple[list[Event], bool]:
        """What is new of it, and whether that is all."""
        with self.session.changed:
            self.now, events, over = self.session.clock.now, self.session.take_events(), self.over
        self.error = self.session.error or self.error
        return [placed(event, self._start, self._row.speaker) for event in events], over

    def close(self) -> None:
        if hasattr(self._row.blocks, "close"):
            self._row.blocks.close()
        worker.post(self.session.stop)


def as_transcript(events: Sequence[Event], duration: float) -> Transcript:
    """All events of a recording -> its transcript. Those of several speakers come by their times.

    duration: the time up to which it was heard, in seconds.
    """
    said = by_speaker(event for event in events if isinstance(event, Word))
    words = [word for row in said for word in settle_ends(row)]
    pauses = [event for event in events if isinstance(event, Pause)]
    turns = [event for event in events if isinstance(event, EndOfTurn)]
    if any(word.speaker for word in words):
        text = captions.to_txt(words).removesuffix("\n")
    else:
        text = " ".join(word.text for word in words)
    return Transcript(
        text,
        sorted(words, key=lambda word: word.start) if len(said) > 1 else words,
        sorted(pauses, key=lambda pause: pause.time),
        sorted(turns, key=lambda turn: turn.time),
        duration,
    )
