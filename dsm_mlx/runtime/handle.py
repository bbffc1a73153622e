"""What both wings' models are to their users: a handle on what was loaded."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import mlx.core as mx

from dsm_mlx.checks import check_number
from dsm_mlx.errors import BusyError
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.batch import Batch
from dsm_mlx.runtime.session import Session

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11


class _Shared(Protocol):
    """What handles share."""

    name: str

    @property
    def batches(self) -> list[Batch]: ...

    def allow(self, rows: int) -> None:
        """Let there be so many rows more, or fewer. On the worker's thread."""
        ...


class _Closable(Protocol):
    """What a handle asks of a stream."""

    def close(self) -> None: ...

    def finish(self, timeout: float) -> Any: ...


Core = TypeVar("Core", bound=_Shared)
Stream = TypeVar("Stream", bound=_Closable)

_LOOK = 0.02  # seconds between two looks for a row that somebody else may have freed


class Handle(Generic[Core, Stream]):
    """Opens streams of a core that it shares, counts them, and closes them.

    max_streams: how many of them may be open at once; those of all handles add up.
    """

    def __init__(self, core: Core, max_streams: int):
        self._loaded: Core | None = core
        self.max_streams = max_streams
        self._streams: weakref.WeakSet[Stream] = weakref.WeakSet()
        self._opening = threading.Lock()
        worker.run(core.allow, max_streams)
        self._leave = weakref.finalize(self, _leave, weakref.ref(core), max_streams)
        self._leave.atexit = False

    @property
    def _core(self) -> Core:
        if self._loaded is None:
            raise ValueError("the model is closed")
        return self._loaded

    @property
    def name(self) -> str:
        """What the model is known by: a folder or a repository of the hub."""
        return self._core.name

    @property
    def streams(self) -> int:
        """How many streams of this handle are open."""
        return len(self._streams)

    def stats(self) -> dict[str, Any]:
        """Figures of what this handle shares, for metrics: "rows" and "rows_in_use", "steps" so
        far, "seconds_a_step" (a mean), "frames_waiting", and "streams" of this handle."""
        return worker.run(self._stats, self._core.batches)

    def _stats(self, batches: list[Batch]) -> dict[str, Any]:
        costs = {batch.cost for batch in batches}  # which outlive a batch that nobody needs
        steps = sum(cost.steps for cost in costs)
        sessions = [session for batch in batches for session in batch.open]
        rows = [session for batch in batches for session in batch.sessions]
        return {
            "rows": len(rows),
            "rows_in_use": sum(session is not None for session in rows),
            "steps": steps,
            "seconds_a_step": sum(cost.seconds for cost in costs) / max(steps, 1),
            "frames_waiting": sum(session.frames_waiting for session in sessions),
            "streams": self.streams,
        }

    def close(self, drain: float = 0.0) -> None:
        """End the streams of this handle, and let go of what was loaded.

        drain: seconds that pushed streams, and speech, have to come to their end by themselves.
        In a forked process it does nothing.
        """
        check_number("drain", drain, 0.0, 86_400.0)
        core, self._loaded = self._loaded, None  # held until its streams have ended
        streams = list(self._streams)
        try:
            if drain:
                _finish(streams, time.monotonic() + drain)
        finally:
            while streams:
                streams.pop().close()
            self._leave()
        del core
        gc.collect()  # a compiled step refers to itself
        worker.post(mx.clear_cache)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- for the wings

    def _open(self, session: Session, batch: Batch, wait: float) -> Stream:
        """A stream on a row of `batch`; waits for one, up to `wait` seconds.

        Raises:
            BusyError: there is none.
        """
        check_number("wait", wait, 0.0, 86_400.0)
        until = time.monotonic() + wait
        stream = self._stream_of(session)  # which frees the row, whenever Ctrl-C may come
        while True:
            try:
                self._try_to_open(stream, session, batch)
                return stream
            except BusyError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_LOOK)

    def _try_to_open(self, stream: Stream, session: Session, batch: Batch) -> None:
        with self._opening:
            if len(self._streams) >= self.max_streams:
                raise BusyError(
                    f"{self.name}: all {self.max_streams} streams are in use (close one, or load "
                    "the model with a larger max_streams)"
                )
            worker.run(batch.join, session)
            self._streams.add(stream)
        if self._loaded is None:  # closed meanwhile
            stream.close()
            raise ValueError("the model is closed")

    def _stream_of(self, session: Any) -> Stream:
        raise NotImplementedError

    def _closed_stream(self, stream: Stream) -> None:
        self._streams.discard(stream)


def _leave(core: weakref.ref[_Shared], rows: int) -> None:
    """What a handle that is closed or dropped takes with it; also from a finaliser. The note that
    waits does not hold what is loaded."""

    def take_away() -> None:
        if (left := core()) is not None:
            left.allow(-rows)

    worker.post(take_away)


def _finish(streams: Sequence[_Closable], until: float) -> None:
    """End all streams, and then wait for each as long as the time is not up."""
    for wait in (False, True):
        for stream in streams:
            with suppress(Exception):  # what goes wrong with it is told to who reads it
                stream.finish(max(0.0, until - time.monotonic()) if wait else 0.0)
