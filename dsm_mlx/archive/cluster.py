"""A job on the workers of a Dask cluster: what they hear is written here.

A recording is a chain of tasks, of which there is one at a time; see `hearing`. As many recordings
are begun as there is room for, and as many again, so that neither the scheduler nor this process
ever knows of more, whatever the size of the archive.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import pickle
import queue
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster
from distributed.comm import resolve_address

from dsm_mlx.archive.hearing import Begun, Heard, Hearing, Refused, hear
from dsm_mlx.archive.job import ClusterError, Job
from dsm_mlx.archive.listing import Recording
from dsm_mlx.checks import check_path
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.messages import named, reason, shown

log = logging.getLogger("dsm_mlx")

RESOURCE = "dsm"
PIECE = 300.0  # seconds of sound
_LOOK, _SOON = 1.0, 0.1  # seconds between two looks at the workers, and at what may be begun
_RETRIES = 2  # of a task that raised an error which may go away
_MOST_SENT = 1 << 30  # bytes of files that were sent and are not heard yet
_GONE = "the scheduler is gone, and did not come back"
# What a call may raise when it goes.
_LOST = (OSError, TimeoutError, CancelledError, asyncio.CancelledError)


def hearing_of(
    model: Any,
    loading: dict[str, Any],
    options: dict[str, Any],
    pauses: bool = False,
    piece: float = PIECE,
) -> Hearing:
    """What workers are asked, so that all do the same: a model that is not named is the one that
    `load_stt` would take on this machine, a folder has its whole path, and a prompt's sound is read
    here. piece: seconds of sound that one task hears.

    Raises:
        TypeError: a model that is loaded. CheckpointError, OSError: what cannot be found or read.
    """
    if model is None:
        found = Checkpoint.find(None, "stt", loading.get("revision"))
        model = "tiny" if found.files.bundled else found.name
    name = check_path("model", model)
    name = os.path.abspath(name) if os.path.exists(name) else name
    prompt = options.get("prompt")
    if prompt is not None and isinstance(prompt.audio, (str, os.PathLike)):
        options = options | {"prompt": replace(prompt, audio=Path(prompt.audio).read_bytes())}
    return Hearing({"model": name, **loading}, options, pauses, piece)


@contextmanager
def connected(
    scheduler: str | None = None, workers: int | None = None, batch: int = 8
) -> Iterator[Client]:
    """A client of the scheduler at an address, or of a cluster of so many workers on this machine,
    of which each hears `batch` recordings at a time.

    Raises:
        OSError, ValueError: nobody answers there; it is no address.
    """
    if scheduler is not None:
        _check_address(scheduler)
        with _client_of(scheduler) as client:
            yield client
        return
    # A worker that dies is started again, however long that takes: otherwise there would be none.
    kept = dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    with (
        kept,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=batch,
            resources={RESOURCE: batch},
            memory_limit=0,  # weights count, which nothing can spill
            dashboard_address="127.0.0.1:0",  # any: one that is taken would be told of
            silence_logs=logging.CRITICAL,
            preload=["dsm_mlx.archive.preload"],
        ) as cluster,
        _client_of(cluster) as client,
    ):
        yield client


@contextmanager
def _client_of(scheduler: str | LocalCluster) -> Iterator[Client]:
    client = Client(scheduler, set_as_default=False)
    try:
        yield client
    finally:
        client.close(timeout=5)


def _check_address(scheduler: str) -> None:
    """OSError or ValueError before there is a client, which would be long in going."""
    try:
        resolve_address(scheduler)
    except (OSError, ValueError) as error:
        known = "expected such as tcp://HOST:8786"
        raise type(error)(f"scheduler is {shown(scheduler)}: {reason(error)} ({known})") from None


def hear_there(job: Job, client: Client, hearing: Hearing, *, send_files: bool = False) -> None:
    """Hear all that is pending on the workers of a cluster, and write their results.

    send_files: send what is in the files, for workers that do not see the folder.

    Raises:
        ClusterError: the scheduler is gone, or the workers cannot hear.
    """
    _Run(job, client, hearing, send_files).run()


@dataclass(eq=False)
class _Chain:
    """A recording that is being heard. data: what is in it, on a worker. size: of that, in bytes.
    attempt: how often it has been begun afresh. alone: nothing else is heard beside it."""

    recording: Recording
    attempt: int = 0
    alone: bool = False
    piece: int = 0
    data: Any = None
    size: int = 0
    future: Future | None = None


class _Run:
    def __init__(self, job: Job, client: Client, hearing: Hearing, send_files: bool):
        self._job, self._client, self._hearing = job, client, hearing
        self._send = send_files
        self._asked = hashlib.sha256(pickle.dumps(hearing)).digest()
        self._running: set[_Chain] = set()
        self._waiting: deque[_Chain] = deque()  # to be begun again
        self._suspects: deque[_Chain] = deque()  # whose workers died, each time
        self._done: queue.SimpleQueue[tuple[_Chain, Future]] = queue.SimpleQueue()
        self._room, self._workers = 0, -1
        self._resources: dict[str, float] = {}
        self._looked = float("-inf")

    def run(self) -> None:
        pending = self._job.pending()
        try:
            while self._running or self._waiting or self._suspects or self._job.any_pending():
                self._look()
                while self._has_room() and (chain := self._next(pending)):
                    self._begin(chain)
                with suppress(queue.Empty):
                    self._settle(*self._done.get(timeout=_LOOK if self._running else _SOON))
        finally:
            for chain in self._running:
                chain.future = chain.data = None  # a task that nobody wants is not begun

    def _next(self, pending: Iterator[Recording]) -> _Chain | None:
        """What is to be begun. Suspects come last, and one by one."""
        if self._waiting:
            return self._waiting.popleft()
        if (recording := next(pending, None)) is not None:
            return _Chain(recording)
        return self._suspects.popleft() if self._suspects and not self._running else None

    # ---- the workers

    def _look(self) -> None:
        """Who is there, now and then."""
        if self._client.status == "closed":
            raise ClusterError(_GONE)
        if time.monotonic() - self._looked < _LOOK or self._client.status != "running":
            return
        try:
            found = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except _LOST:
            return  # it is going, and its futures tell of it
        self._looked = time.monotonic()
        offers = [worker["resources"].get(RESOURCE, 0) for worker in found]
        # Where some are meant for it, others are left alone.
        self._resources = {RESOURCE: 1} if any(offers) else {}
        rows = [
            min(int(offer), worker["nthreads"]) if any(offers) else worker["nthreads"]
            for offer, worker in zip(offers, found, strict=True)
        ]
        count, self._room = sum(map(bool, rows)), sum(rows)
        if count != self._workers:
            self._workers = count
            log.info("%s", _told(count, self._room))

    def _has_room(self) -> bool:
        sent = sum(chain.size for chain in self._running)
        return len(self._running) < 2 * self._room and sent < _MOST_SENT

    # ---- a recording

    def _begin(self, chain: _Chain) -> None:
        """Its first piece."""
        recording = chain.recording
        chain.piece, chain.data = 0, None
        if self._send:
            try:
                with open(recording.path, "rb") as file:
                    data = file.read()
            except OSError as error:
                self._job.fail(recording, f"{named(recording.path)}: {reason(error)}")
                return
            chain.size = len(data)
            try:
                chain.data = self._client.scatter(data, hash=False)
            except _LOST:  # or there is no worker any more
                self._again(chain)
                return
        self._running.add(chain)
        self._submit(chain, None)

    def _submit(self, chain: _Chain, before: Future | None) -> None:
        """Its next piece, which goes before those of recordings that are less far."""
        future = self._client.submit(
            hear,
            self._hearing,
            os.path.abspath(chain.recording.path),
            chain.data,
            before,
            key=("dsm-hear", self._named(chain), chain.piece),
            retries=_RETRIES,
            resources=self._resources or None,
            priority=chain.piece,
        )
        chain.future = future
        chain.piece += 1
        future.add_done_callback(lambda done: self._done.put((chain, done)))

    def _named(self, chain: _Chain) -> str:
        """Its path, and what would change its result: what is asked, its size and time."""
        path = os.path.abspath(chain.recording.path)
        digest = hashlib.sha256(self._asked + os.fsencode(path) + b"%d" % chain.attempt)
        with suppress(OSError):
            found = os.stat(path)
            digest.update(b"%d %d" % (found.st_size, found.st_mtime_ns))
        return f"{named(path)} {digest.hexdigest()[:16]}"

    def _settle(self, chain: _Chain, future: Future) -> None:
        """What has become of a piece."""
        if chain.future is not future:  # of an earlier attempt
            return
        if future.status == "error":
            self._failed(chain, future.exception())
            return
        try:
            begun = future.status == "finished" and (future.type or type(future.result())) is Begun
            outcome: Any = None if begun else future.result()
        except _LOST:
            self._again(chain)
            return
        if begun:
            self._job.hear(chain.recording, self._hearing.piece)
            self._submit(chain, future)
        else:
            self._over(chain, outcome)

    def _over(self, chain: _Chain, outcome: Heard | Refused) -> None:
        recording = self._end(chain)
        if isinstance(outcome, Heard):
            told = (chain.piece - 1) * self._hearing.piece
            self._job.hear(recording, outcome.seconds - told)
            self._job.finish(recording, outcome.transcript)
        elif outcome.hopeless:
            raise ClusterError(outcome.why)
        elif outcome.unseen and os.path.exists(recording.path):
            raise ClusterError(
                f"{outcome.why}, but here (expected a folder that all share, or --send-files)"
            )
        else:
            self._job.fail(recording, outcome.why)

    def _failed(self, chain: _Chain, error: BaseException | None) -> None:
        """After all retries. Whoever was heard beside a file that ends its workers is tried again
        when nothing else is heard, and so is that file."""
        if error is not None and _cannot_read(error):
            raise ClusterError(
                f"the scheduler and all workers need what is installed here, dsm_mlx above all: "
                f"{reason(error)}"
            )
        recording = self._end(chain)
        self._job.forget(recording)
        if not isinstance(error, KilledWorker):
            why = f"{type(error).__name__}: {reason(error)}" if error else "no reason was told"
            self._job.fail(recording, f"{named(recording.path)}: {why}")
        elif chain.alone:
            self._job.fail(recording, f"{named(recording.path)}: every worker that heard it died")
        else:
            self._suspects.append(_Chain(recording, chain.attempt + 1, alone=True))

    def _again(self, chain: _Chain) -> None:
        """Its task is lost, with the scheduler, or with the only worker that had its bytes."""
        while self._client.status == "connecting":
            time.sleep(0.05)
        if self._client.status != "running":
            raise ClusterError(_GONE)
        self._job.forget(self._end(chain))
        self._waiting.append(_Chain(chain.recording, chain.attempt + 1, chain.alone))

    def _end(self, chain: _Chain) -> Recording:
        self._running.discard(chain)
        chain.future = chain.data = None
        return chain.recording


def _told(workers: int, room: int) -> str:
    if not workers:
        return "no workers; waiting (each needs dsm_mlx: without, it ends at its first task)"
    some = "1 worker hears" if workers == 1 else f"{workers} workers hear"
    return f"{some} {'1 file' if room == 1 else f'{room} files'} at a time"


def _cannot_read(error: BaseException) -> bool:
    """Whether the other side cannot read what it is asked to do, which is all alike."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ImportError):
        cause = cause.__cause__
    return cause is not None or "deserialization" in str(error)
