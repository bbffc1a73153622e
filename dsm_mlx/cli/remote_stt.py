"""Speech to text by a server, as the stt command uses a model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from dsm_mlx.audio import Part, Sound
from dsm_mlx.cli.remote import Connection, Server
from dsm_mlx.errors import AudioError, BusyError
from dsm_mlx.options import PAUSE_SECONDS, TurnPolicy
from dsm_mlx.results import EndOfTurn, Event, Pause, Word
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.stt.pauses import TurnDetector
from dsm_mlx.stt.reading import placed
from dsm_mlx.stt.recordings import Progress

_PATH = "/api/asr-streaming"
_FRAME, _FRAME_RATE = 1920, 12.5
_QUIET = 1.0  # seconds without a message, after which Kyutai's own server wants more sound
_MOST_SILENCE = 60  # seconds
_BLOCK = 24_000
_TICK = 0.1  # seconds
_NOTHING = np.zeros(0, np.float32)


def ticking(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same blocks, which may be long in coming, and an empty one whenever there is none for a
    while: words come meanwhile."""
    found: queue.Queue[np.ndarray | BaseException | None] = queue.Queue(4)

    def read() -> None:
        try:
            for block in blocks:
                found.put(block)
            found.put(None)
        except BaseException as error:
            found.put(error)

    # A daemon: nothing can end a read from a pipe that stays open.
    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            block = found.get(timeout=_TICK)
        except queue.Empty:
            block = _NOTHING
        if block is None:
            return
        if isinstance(block, BaseException):
            raise block
        yield block


class RemoteSpeechToText:
    """What the command needs of a `SpeechToText`."""

    sample_rate = 24_000
    delays: tuple[float, ...] = ()
    languages: tuple[str, ...] = ()  # which the server does not tell

    def __init__(self, server: Server):
        self._server = server

    def stream(self, *_: object, **options: object) -> RemoteTranscript:
        """BusyError where the server has no room. options: those of a model on this machine, which
        cannot be given with a server."""
        return RemoteTranscript(Connection(self._server, _PATH))

    def transcribe_events(
        self, files: list[str], *, track: int, start: float, end: float | None, **options: object
    ) -> Iterator[Progress]:
        """Every file in turn. One that fails, for whatever reason, fails alone."""
        part = Part(track, start, end)
        for index, file in enumerate(files):
            yield from self._file(index, file, part)

    def _file(self, index: int, file: str, part: Part) -> Iterator[Progress]:
        def placed_all(events: list[Event]) -> list[Event]:
            return [placed(event, part.start, None) for event in events]

        try:
            sound = Sound(file, target=self.sample_rate, part=part)
            with sound, self.stream() as stream:
                for block in sound.blocks(_BLOCK):
                    events = placed_all(stream.feed(block))
                    yield Progress(index, events, len(block) / self.sample_rate)
                yield Progress(index, placed_all(stream.flush()), 0.0, last=True)
        except (AudioError, BusyError, OSError) as error:
            yield Progress(index, [], 0.0, last=True, error=error)


class RemoteTranscript:
    """What the command needs of a `TranscriptStream`.

    An error that ends the connection is raised once, when all that came before it has been
    returned, by `flush` at once; what that had found is returned by the next `flush`.
    """

    partial_word = ""  # which the server does not tell

    def __init__(self, connection: Connection):
        self._connection = connection
        self._steps = self._marks = 0
        self._word: tuple[str, float] | None = None  # whose end is not known yet
        self._pause: Pause | None = None  # told after the words of its frame
        self._turns = TurnDetector(_FRAME_RATE, TurnPolicy())
        self._events: list[Event] = []
        self._error: Exception | None = None
        self._told = self._settled = False

    def feed(self, pcm: np.ndarray) -> list[Event]:
        """Send float32 pcm (samples,); returns what became known meanwhile."""
        self._check()
        self._settled = False
        for start in range(0, len(pcm), _FRAME):
            self._connection.send(messages.audio(pcm[start : start + _FRAME]))
        while self._take(0):
            pass
        return self._taken()

    def flush(self) -> list[Event]:
        """Wait for the rest of what was sent."""
        if self._told:
            return self._taken()
        self._check()
        self._marks += 1
        self._connection.send(messages.marker(self._marks))
        silence = 0
        while not self._settled:
            if not self._take(_QUIET) and not self._error and silence < _MOST_SILENCE:
                silence += 1
                self._connection.send(messages.audio(np.zeros(_BLOCK, np.float32)))
            self._check()
        return self._taken()

    def close(self) -> None:
        """Stop. A server that has not heard it all need not."""
        self._connection.close(at_once=not self._settled)

    def __enter__(self) -> RemoteTranscript:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if self._error:
            self._told = True
            raise self._error

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    # ---- what comes

    def _take(self, timeout: float) -> bool:
        """Whether there was another message within so many seconds."""
        if self._error:
            return False
        try:
            message = self._connection.receive(timeout)
            if message is not None:
                self._understand(message)
            return message is not None
        except EOFError:
            self._error = self._connection.gone()
        except (BusyError, OSError) as error:
            self._error = error
        except (KeyError, TypeError, ValueError):
            self._error = self._connection.stranger()
        return False

    def _understand(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "Step":
            self._tell_pause()
            self._steps += 1
            probabilities = map(float, message["prs"])
            time = self._steps / _FRAME_RATE
            self._pause = Pause(time, dict(zip(PAUSE_SECONDS, probabilities, strict=False)))
        elif kind == "Word":
            text, start = message["text"], float(message["start_time"])
            self._tell_word(start)  # the one before, if nothing told its end
            self._word = str(text), start
        elif kind == "EndWord":
            self._tell_word(float(message["stop_time"]))
        elif kind == "Marker" and message["id"] == self._marks:
            self._tell_word(self._steps / _FRAME_RATE)
            self._tell_pause()
            self._settled = True

    def _tell_word(self, end: float) -> None:
        if self._word is not None:
            text, start = self._word
            self._word = None
            self._turns.word()
            self._events.append(Word(text, start, max(start, end)))

    def _tell_pause(self) -> None:
        """Words come after the Step of their frame, and count before its pause."""
        if self._pause is not None:
            pause, self._pause = self._pause, None
            self._events.append(pause)
            if self._turns.push(pause.probabilities):
                self._events.append(EndOfTurn(pause.time))
