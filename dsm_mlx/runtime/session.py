"""What the runtime knows of a session: whether it can go on, and whom to tell."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Changed:
    """A lock, and waiting for what is changed with it held, to which Ctrl-C can do no harm.

    `threading.Condition` is Python, so that an interrupt may come when it has taken the lock and
    before the `with` block knows of it; the worker would wait for that lock for ever. Here `with`
    calls the lock's own methods, in which none can come.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._waiting: set[queue.SimpleQueue[None]] = set()

    __enter__ = property(lambda self: self._lock.__enter__)
    __exit__ = property(lambda self: self._lock.__exit__)

    def wait_for(self, until: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `until()`, which is called with the lock held; False if the time, in seconds,
        was too short. Without the lock held."""
        woken: queue.SimpleQueue[None] = queue.SimpleQueue()
        end = None if timeout is None else time.monotonic() + timeout
        self._waiting.add(woken)
        try:
            while True:
                with self:
                    done = until()
                left = None if end is None else end - time.monotonic()
                if done or (left is not None and left <= 0):
                    return done
                with suppress(queue.Empty):
                    woken.get(timeout=left)
        finally:
            self._waiting.discard(woken)

    def notify_all(self) -> None:
        """Have all who wait look again."""
        for woken in list(self._waiting):
            woken.put(None)


NOT_WAITING = float("inf")  # since when: no frame can be computed


class Session:
    """One stream or recording, on the host. The wings say what is in it.

    Two threads touch it: the caller's, which brings sound or text and takes what came of it, and
    the worker's. Whatever both touch is touched with `changed` held.

    Attributes:
        live: somebody waits for it now; recordings and whole texts are not live.
        changed: told whenever something came or went. Sessions may share one.
        beginning: the state of a row to go on from, when the next frame is not to follow the last
            one: at first, after a reset, and after a rest.
        error: what ended it.
        gone: no frame of it is to be computed any more.
    """

    def __init__(self, beginning: Any, *, live: bool, changed: Changed | None = None):
        self.live = live
        self.changed = changed or Changed()
        self.beginning = beginning
        self.error: Exception | None = None
        self.gone = False
        self.batch: Any = None  # these four are the batch's
        self.row: int | None = None
        self.since = NOT_WAITING
        self.position = 0  # steps that lie behind its row
        self._wakers: set[Callable[[], None]] = set()

    @property
    def own_row(self) -> int:
        """`row`, of a session that is known to be on one."""
        if self.row is None:
            raise RuntimeError("a session that waits has no row")
        return self.row

    @property
    def frames_waiting(self) -> int:
        """How many frames of it could be computed, for figures."""
        raise NotImplementedError

    def prepare(self) -> bool:
        """Do what is next and needs no model; whether there is something to tell of. With
        `changed` held."""
        return False

    @property
    def ready(self) -> bool:
        """Whether a frame of it can be computed. With `changed` held."""
        raise NotImplementedError

    @property
    def urgent(self) -> bool:
        """Whether its next frame goes before those of recordings. With `changed` held."""
        return self.live

    @property
    def keeps(self) -> bool:
        """Whether it wants its row's state as it is before the next frame. With `changed` held."""
        return False

    def keep(self, state: Any) -> None:
        """The state that it wanted, as a value of its own. With `changed` held."""

    def settle(self) -> None:
        """Go back to where nothing is in doubt: it is about to be copied. With `changed` held."""

    def fail(self, error: Exception) -> None:
        """It cannot go on."""
        with self.changed:
            if self.gone:
                return
            self.error, self.gone = error, True
            self.let_go()
        self.tell()

    def attempt(self, do: Callable[[], Any]) -> None:
        """Call `do` with `changed` held. What goes wrong is this session's alone, and ends it."""
        try:
            with self.changed:
                do()
        except Exception as error:
            self.fail(error)

    def stop(self) -> None:
        """Compute no more of it; its batch lets go of it at its next turn."""
        with self.changed:
            self.gone = True
            self.let_go()
        self.tell()

    def let_go(self) -> None:
        """Hold nothing of the model, which whoever keeps a closed stream shall not keep in memory.
        With `changed` held."""
        self.beginning = None

    def tell(self) -> None:
        """Wake who waits for a change, in threads and event loops. Without `changed` held."""
        self.changed.notify_all()
        with self.changed:
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def wake_by(self, waker: Callable[[], None], on: bool = True) -> None:
        """Call `waker` at every change, on whatever thread; it must be quick. on=False: no more."""
        with self.changed:
            (self._wakers.add if on else self._wakers.discard)(waker)
