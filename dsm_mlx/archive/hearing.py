"""What runs on a worker of a cluster: one piece of one recording, on a model that stays loaded.

A recording is heard in pieces of some minutes, each a task. What a piece leaves behind, the state
of its stream, is the argument of the next, so that all of them together are one stream, to the last
sample and bit, wherever each is heard. So they may be cut anywhere, and need no pause.
"""

from __future__ import annotations

import atexit
import io
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import dsm_mlx
from dsm_mlx.archive.local import words_of
from dsm_mlx.audio import Part, Sound
from dsm_mlx.errors import AudioError
from dsm_mlx.results import Event, Transcript
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.stt.reading import placed
from dsm_mlx.stt.recordings import as_transcript

_BLOCK = 10.0  # seconds of sound that a stream is given at a time
_KEEP = 60.0  # seconds for which a file stays open, for its next piece
_PART = ("track", "start", "end")  # of the options, what of a file is heard
_SPLIT = ("channels", "speakers")  # and whether each channel by itself


@dataclass(frozen=True)
class Hearing:
    """How recordings are heard, the same for all of them.

    loading: the arguments of `load_stt`. options: of `SpeechToText.transcribe_events`. pauses: keep
    them, and the ends of turns. piece: seconds of sound that one task hears.
    """

    loading: dict[str, Any]
    options: dict[str, Any]
    pauses: bool
    piece: float
    version: str = dsm_mlx.__version__

    @property
    def split(self) -> bool:
        """Every channel has a stream of its own; such a recording is heard in one piece."""
        return self.options.get("channels") == "split"

    @property
    def part(self) -> Part:
        return Part(**{name: self.options[name] for name in _PART if name in self.options})

    def stream(self, stt: SpeechToText) -> Any:
        """A stream for the beginning of a recording."""
        left_out = (*_PART, *_SPLIT)
        options = {name: v for name, v in self.options.items() if name not in left_out}
        return stt.stream(**options, live=False)


@dataclass
class Begun:
    """A recording that has been heard up to here: what the next piece goes on from.

    state: of its stream, bytes. events: so far. at: samples at the model's rate.
    """

    state: bytes
    events: list[Event]
    at: int

    def __sizeof__(self) -> int:
        """Bytes, from which Dask tells what it costs to hear the next piece elsewhere."""
        return sys.getsizeof(self.state) + 200 * len(self.events)


@dataclass
class Heard:
    """A recording that has been heard to its end, and how many seconds of it there were."""

    transcript: Transcript
    seconds: float


@dataclass
class Refused:
    """Why it was not heard, nor would be if it was tried again.

    hopeless: nor would any other recording on this machine. unseen: there is no such file here.
    """

    why: str
    hopeless: bool = False
    unseen: bool = False


def hear(
    hearing: Hearing, path: str, data: bytes | None, before: Begun | None
) -> Begun | Heard | Refused:
    """Hear the next piece of a recording.

    path: of the file; data: what is in it, where only the client has it. before: what the piece
    before this one has left. An exception is what may go away by itself, and is worth a retry.
    """
    if hearing.version != dsm_mlx.__version__:
        found = f"this has dsm_mlx {dsm_mlx.__version__}, the client {hearing.version}"
        return Refused(f"{_host()}: {found} (expected the same)", hopeless=True)
    try:
        stt = _models.get(hearing.loading)
    except (dsm_mlx.CheckpointError, ValueError, TypeError) as error:
        return Refused(f"{_host()}: {error}", hopeless=True)
    if data is None and not os.path.exists(path):
        return Refused(f"{path}: no such file on {_host()}", unseen=True)
    try:
        if hearing.split:
            return _whole(hearing, stt, _source(path, data))
        return _piece(hearing, stt, path, data, before)
    except AudioError as error:
        return Refused(str(error))
    except (ValueError, TypeError) as error:  # of an option: files have other errors
        return Refused(f"{_host()}: {error}", hopeless=True)


def _whole(hearing: Hearing, stt: SpeechToText, source: Any) -> Heard:
    transcript = stt.transcribe(source, **hearing.options)
    if not hearing.pauses:
        words, seconds = transcript.words, transcript.duration
        transcript = Transcript(transcript.text, words, duration=seconds)
    return Heard(transcript, transcript.duration - hearing.part.start)


def _piece(
    hearing: Hearing, stt: SpeechToText, path: str, data: bytes | None, before: Begun | None
) -> Begun | Heard:
    part, rate = hearing.part, stt.sample_rate
    at = before.at if before else 0
    place = _Place(path, part, rate, round(min(_BLOCK, hearing.piece) * rate), at)
    until = at + round(hearing.piece * rate)
    news: list[Event] = []
    reader = _readers.take(place) or _Reader(place, data)
    stream = stt.resume(before.state, live=False) if before else hearing.stream(stt)
    with closing(stream), ExitStack() as stack:
        stack.callback(reader.close)
        for block in reader:
            news += stream.feed(block)
            if reader.at >= until:
                events = _placed(before, news, hearing)
                begun = Begun(stream.save(), events, reader.at)
                stack.pop_all()
                _readers.keep(replace(place, at=reader.at), reader)
                return begun
        news += stream.flush()
    seconds = reader.at / rate
    events = _placed(before, news, hearing)
    return Heard(as_transcript(events, part.start + seconds), seconds)


def _placed(before: Begun | None, news: list[Event], hearing: Hearing) -> list[Event]:
    """All events so far."""
    kept = news if hearing.pauses else words_of(news)
    new = [placed(event, hearing.part.start, None) for event in kept]
    return [*before.events, *new] if before else new


def _host() -> str:
    return socket.gethostname()


def _source(path: str, data: bytes | None) -> Any:
    """What `Sound` can read, and calls by the file's name."""
    if data is None:
        return path
    source = io.BytesIO(data)
    source.name = path
    return source


# ---- what a worker keeps between tasks


class _Models:
    """The model that was asked for last. Another one takes its place; what is heard with the old
    one goes on, and then its memory goes, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # so that tasks which begin together load it once
        self._loading: dict[str, Any] | None = None
        self._model: SpeechToText | None = None

    def get(self, loading: dict[str, Any]) -> SpeechToText:
        """Raises what `load_stt` does."""
        with self._lock:
            if self._model is None or self._loading != loading:
                self._model = None
                self._model = dsm_mlx.load_stt(**loading, max_streams=_threads())
                self._loading = loading
            return self._model


def _threads() -> int | None:
    """As many tasks as this worker runs at a time."""
    from distributed import get_worker

    try:
        return min(get_worker().state.nthreads, 1024)
    except ValueError:  # this is no worker
        return None


@dataclass(frozen=True)
class _Place:
    """A place in a file. rate: of the samples. block: samples that are read at a time. at: how many
    lie before it."""

    path: str
    part: Part
    rate: int
    block: int
    at: int


class _Reader:
    """The sound of a file in blocks, from a place on. What lies before that is decoded and dropped,
    so that each sample is what it would be without a break. data: what is in the file.

    at: samples that were read.
    """

    def __init__(self, place: _Place, data: bytes | None):
        source = place.path if data is None else data
        self._sound = Sound(source, target=place.rate, part=place.part, name=place.path)
        self._blocks, self.at = self._sound.blocks(place.block), 0
        while self.at < place.at and next(self, None) is not None:
            pass

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        block = next(self._blocks)
        self.at += block.size
        return block

    def close(self) -> None:
        self._sound.close()


class _Readers:
    """Files that stay open for a while: mostly their next piece is heard on the same worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[_Place, tuple[_Reader, threading.Timer]] = {}
        atexit.register(self.close)

    def keep(self, place: _Place, reader: _Reader) -> None:
        self.drop(place)
        timer = threading.Timer(_KEEP, self.drop, (place,))
        timer.daemon = True
        with self._lock:
            self._kept[place] = reader, timer
        timer.start()

    def take(self, place: _Place) -> _Reader | None:
        """The one that is kept there, for whoever closes it."""
        with self._lock:
            reader, timer = self._kept.pop(place, (None, None))
        if timer:
            timer.cancel()
        return reader

    def drop(self, place: _Place) -> None:
        """Nobody came for it."""
        if reader := self.take(place):
            reader.close()

    def close(self) -> None:
        for place in list(self._kept):
            self.drop(place)


_models, _readers = _Models(), _Readers()
