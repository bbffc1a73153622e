"""One thread owns all arrays and takes turns; any thread may call.

MLX binds lazy arrays and random state to the thread that made them, and Metal command buffers do
not like company. So everything is loaded and stepped on one thread of ours. Nothing on it lasts
longer than one step or one piece of loading, and user code never runs on it.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import Any, TypeVar

from dsm_mlx.runtime.batch import Batch

log = logging.getLogger("dsm_mlx")

Value = TypeVar("Value")
Pieces = Generator[Any, None, Value]

_EXIT_SECONDS = 30.0  # a step on a slow machine may last seconds
_FORKED = (
    "this process was forked after dsm_mlx had begun to compute; load the model in the new "
    "process, started by multiprocessing's method 'spawn'"
)
_EXITING = "the interpreter is exiting"


class Worker:
    """Runs jobs and batches in turns.

    clock: for tests, which may also call `turn` themselves instead of starting the thread.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self.clock = clock
        # Also finalisers put into it, which may run on any thread at any time, even while that
        # thread holds a lock: a SimpleQueue is what can take that.
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._jobs: deque[_Job] = deque()
        self._batches: list[weakref.ref[Batch]] = []
        self._start = threading.Lock()
        self._thread: threading.Thread | None = None
        self._parked = threading.Event()
        self._over: str | None = None  # why nothing is computed any more

    # ---- any thread

    def check(self) -> None:
        """Raises RuntimeError where waiting for the worker would last for ever: in a forked
        process, at exit, and on the worker's own thread."""
        if self._over:
            raise RuntimeError(self._over)
        if threading.current_thread() is self._thread:
            raise RuntimeError("a call that waits for dsm_mlx's thread was made on that thread")

    def run(self, function: Callable[..., Value], *args: Any, **kwargs: Any) -> Value:
        """Call `function` on the worker's thread, and wait for what it returns or raises.

        It is one turn: it must not last longer than a frame or two.
        """

        def once() -> Pieces[Value]:
            return function(*args, **kwargs)
            yield

        return self.run_pieces(once())

    def run_pieces(
        self, pieces: Pieces[Value], progress: Callable[[Any], None] | None = None
    ) -> Value:
        """Run a generator on the worker's thread, one piece a turn, and wait for its value.

        progress: called here, with what the generator yields. Who stops waiting, by Ctrl-C or an
        error in `progress`, ends the generator at its next piece.
        """
        self.check()
        job = _Job(pieces, watched=progress is not None)
        self.post(lambda: self._jobs.append(job))
        self._ensure_thread()
        if self._over:  # since it was looked at, and perhaps too late to be seen there
            job.fail(RuntimeError(self._over))
        return job.wait(progress)

    def post(self, note: Callable[[], None] | None = None) -> None:
        """Have `note` called on the worker's thread before its next turn, or just wake it.

        Takes no lock and never waits: this is what finalisers may do.
        """
        self._inbox.put(note)

    def add(self, batch: Batch) -> None:
        """Let a batch take part. On the worker's thread; it goes when nobody holds it."""
        self._batches.append(weakref.ref(batch))

    # ---- the worker's thread

    def turn(self) -> bool:
        """Take the notes that came, one piece of a job and one turn of a batch.

        Returns whether there was anything to do.
        """
        self._take_notes()
        worked = self._piece()
        now = self.clock()
        batches = self.batches()
        claims = [(claim, i) for i, b in enumerate(batches) if (claim := _claim(b, now))]
        if claims:
            live_open = any(session.live for batch in batches for session in batch.open)
            batches[min(claims)[1]].turn(now, self.clock, live_open)
        return worked or bool(claims)

    def batches(self) -> list[Batch]:
        """Those that somebody holds."""
        found = [(ref, batch) for ref in self._batches if (batch := ref()) is not None]
        self._batches = [ref for ref, _ in found]
        return [batch for _, batch in found]

    def _take_notes(self) -> None:
        with suppress(queue.Empty):
            while True:
                note = self._inbox.get_nowait()
                if note:
                    note()

    def _piece(self) -> bool:
        """One piece of the job that has waited longest."""
        if not self._jobs:
            return False
        job = self._jobs.popleft()
        if not job.go_on():
            self._jobs.append(job)
        return True

    def _loop(self) -> None:
        try:
            while not self._over:
                if not self.turn():
                    self._rest()
        except BaseException as error:  # a fault of ours; but nobody shall wait for ever
            log.critical("dsm_mlx's thread has failed", exc_info=error)
            self._over = f"dsm_mlx's thread has failed ({type(error).__name__}: {error})"
        self._end()
        self._parked.set()
        # MLX aborts the process when a thread that used it ends before the process does, and
        # Python when one comes back from a computation after the interpreter has gone.
        while True:
            time.sleep(3600)

    def _rest(self) -> None:
        """Until there is something to do."""
        now = self.clock()
        looks = [at for batch in self.batches() if (at := _tidy(batch, now)) is not None]
        timeout = max(0.01, min(looks) - now) if looks else None
        with suppress(queue.Empty):
            note = self._inbox.get(timeout=timeout)
            if note:
                note()

    def _end(self) -> None:
        error = RuntimeError(self._over)
        self._take_notes()
        for job in self._jobs:
            job.fail(error)
        for batch in self.batches():
            batch.fail(error)

    # ---- beginning and end

    def _ensure_thread(self) -> None:
        if self._thread and self._thread.ident:
            return
        with self._start:
            if self._thread is None:
                os.register_at_fork(after_in_child=self._forked)
                self._thread = threading.Thread(
                    target=self._loop, name="dsm_mlx worker", daemon=True
                )
                # Before it runs: Ctrl-C may come between any two lines.
                atexit.register(self.park)
            if self._thread.ident is None:
                self._thread.start()

    def park(self) -> None:
        """Stop after the current turn. Whoever waits gets a RuntimeError."""
        if self._over:
            return
        self._over = _EXITING
        self.post()
        if self._thread and self._thread.ident:
            self._parked.wait(_EXIT_SECONDS)
        self._take_late_jobs()

    def _take_late_jobs(self) -> None:
        """What was asked for while the worker was parking."""
        self._take_notes()
        for job in self._jobs:
            job.fail(RuntimeError(_EXITING))

    def _forked(self) -> None:
        """The thread did not come along, nor what MLX holds."""
        self._over = _FORKED


def _claim(batch: Batch, now: float) -> tuple[int, float] | None:
    """What goes wrong in a batch, such as a lack of memory, ends that batch alone."""
    try:
        return batch.claim(now)
    except Exception as error:
        batch.fail_by(error)
        return None


def _tidy(batch: Batch, now: float) -> float | None:
    try:
        return batch.tidy(now)
    except Exception as error:
        batch.fail_by(error)
        return None


class _Job:
    """A generator that somebody waits for."""

    def __init__(self, pieces: Pieces, watched: bool):
        self._pieces, self._watched = pieces, watched
        # Of kind and value. No Future: Ctrl-C can leave one locked, and the worker with it.
        self._news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._unwanted = False

    def wait(self, progress: Callable[[Any], None] | None) -> Any:
        try:
            while True:
                kind, news = self._news.get()
                if kind == "told":
                    if progress is not None:
                        progress(news)
                elif kind == "value":
                    return news
                else:
                    raise news
        except BaseException:
            self._unwanted = True
            raise
        finally:
            news = None  # which would refer to itself by its traceback

    def go_on(self) -> bool:
        """One piece; whether that was the last. Whatever it raises belongs to the caller."""
        try:
            if self._unwanted:
                self._pieces.close()
                return True
            told = next(self._pieces)
        except StopIteration as end:
            self._news.put(("value", end.value))
        except BaseException as error:
            self._news.put(("error", error))
        else:
            if self._watched:
                self._news.put(("told", told))
            return False
        del self._pieces  # no argument outlives its job
        return True

    def fail(self, error: Exception) -> None:
        """Its caller need not wait any more; also while it is being run."""
        self._news.put(("error", error))


shared = Worker()
"""The worker of this process."""

run, run_pieces, post, check = shared.run, shared.run_pieces, shared.post, shared.check


def complete(pieces: Pieces[Value]) -> Value:
    """Run a generator to its end on this thread; its value."""
    value: list[Value] = []

    def whole() -> Iterator[Any]:
        value.append((yield from pieces))

    deque(whole(), maxlen=0)
    return value[0]
