"""Sessions on rows: join, rest, leave, run, grow. One stream is a batch of one.

All of it happens on the worker's thread. A frame of all rows that go along is computed in one or
more turns, between which the worker looks after other batches.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import mlx.core as mx

from dsm_mlx.errors import BusyError
from dsm_mlx.runtime.device import on_cpu
from dsm_mlx.runtime.frame import Frame, Step
from dsm_mlx.runtime.rows import Rows
from dsm_mlx.runtime.schedule import FRAME_SECONDS, PATIENCE, Cost, choose
from dsm_mlx.runtime.session import NOT_WAITING, Session

log = logging.getLogger("dsm_mlx")

_KNOWN_STEPS = 20  # after which the time of a step is known: the first ones take longer
_SHRINK_AFTER = 30.0  # seconds with at most a quarter of the rows in use
LIVE, SPARE = 0, 1


class Batch:
    """Rows of one model that can go through a step together.

    Args:
        step: computes a frame.
        name: of the model, for messages.
        limit: the most rows there may be.
        cost: of the model's steps; batches of one model share it.
        masked: whether a step computes all rows and a mask says who advances, which suits a
            device on which more rows hardly cost more; otherwise the active rows are taken out.
            None: what suits this device.
    """

    def __init__(
        self,
        step: Step[Any],
        name: str,
        limit: int = 1,
        cost: Cost | None = None,
        masked: bool | None = None,
    ):
        self._step, self.name, self.limit = step, name, limit
        self.cost = cost or Cost()
        self._masked = not on_cpu() if masked is None else masked
        self.sessions: list[Session | None] = []
        self._waiting: deque[Session] = deque()  # recordings for which there is no row yet
        self._rows: Rows | None = None
        self._frame: Frame | None = None  # whose turns are not over
        self._unread: Frame | None = None  # whose state is known, but not yet what came of it
        self._file_went = float("-inf")
        self._little_since: float | None = None
        self._too_wide_at: int | None = None
        self._told_late = False
        self.steps = 0

    @property
    def _state(self) -> Rows:
        """Of the rows, which there are from the first session on."""
        if self._rows is None:
            raise RuntimeError(f"{self.name}: there are no rows")
        return self._rows

    # ---- joining and leaving

    @property
    def open(self) -> list[Session]:
        """All sessions, with a row or waiting for one."""
        return [session for session in (*self.sessions, *self._waiting) if session]

    def join(self, session: Session) -> None:
        """Give a session a row. A live one takes that of a recording if need be, whose state then
        rests as a value; a recording waits until there is one.

        Raises:
            BusyError: no row is free and there is no memory or no leave for more.
        """
        self._let_go()
        if session.live:
            self._too_wide_at = None  # whoever asks may try
        if self._rows is None and session.beginning is not None:
            self._rows, self.sessions = Rows(session.beginning), [None]
        row = self._free_row()
        if row is None and any(other.gone for other in self.sessions if other):
            self._finish_frame()  # in which they still are
            self._let_go()
            row = self._free_row()
        if row is None and session.live:
            row = self._rest_one()
        if row is None and session.live:
            why = "there is no memory for another stream"
            if len(self.sessions) >= self.limit:
                why = f"all {self.limit} streams are in use"
            raise BusyError(
                f"{self.name}: {why} (close one, or load the model with another max_streams)"
            )
        session.batch = self  # which lives as long as somebody is in it
        if row is None:
            self._waiting.append(session)
        else:
            self.sessions[row], session.row = session, row

    def value(self, session: Session) -> Any:
        """The state of a session as a value of its own, at a whole frame.

        Raises:
            ValueError: it has been closed. What ended it, if anything did.
        """
        self._finish_frame()
        if session.gone:
            raise session.error or ValueError("the stream is closed")
        with session.changed:
            session.settle()
        if session.beginning is not None:
            return session.beginning
        return self._state.get(session.own_row)

    def fail(self, error: Exception) -> None:
        """End all sessions. The batch can be used on."""
        for session in self.open:
            session.fail(error)
            session.batch = None
        self._frame = self._unread = self._rows = None
        self.sessions, self._waiting = [], deque()

    def _free_row(self) -> int | None:
        if None not in self.sessions:
            width = len(self.sessions)
            if width >= self.limit or width == self._too_wide_at:
                return None
            if not self._grow(max(1, min(2 * width, self.limit))):
                return None
        return self.sessions.index(None)

    def _grow(self, width: int) -> bool:
        self._finish_frame()
        if self._rows:
            try:
                self._rows.grow(width)
            except MemoryError as error:
                log.warning("%s: %s", self.name, error)
                self._too_wide_at = len(self.sessions)  # not tried again before a row is free
                return False
        self.sessions += [None] * (width - len(self.sessions))
        return True

    def _rest_one(self) -> int | None:
        """Take the row of a recording, the one that had its turn last."""
        if not any(session and not session.live for session in self.sessions):
            return None
        self._finish_frame()
        files = [session for session in self.sessions if session and not session.live]
        if not files:
            return None
        session = max(files, key=lambda file: file.since)
        row = session.own_row
        if session.beginning is None:
            session.beginning = self._state.get(row)
        self.sessions[row], session.row = None, None
        self._waiting.appendleft(session)
        return row

    def _let_go(self) -> None:
        """Free the rows of who has left, and give them to who waits."""
        busy = self._frame.sessions if self._frame else ()
        for row, session in enumerate(self.sessions):
            if session and session.gone and session not in busy:
                self.sessions[row], session.row, session.batch = None, None, None
                self._too_wide_at = None
        if any(session.gone for session in self._waiting):
            for session in self._waiting:
                session.batch = None if session.gone else self
            self._waiting = deque(session for session in self._waiting if not session.gone)
        while self._waiting and not self._frame and (free := self._free_row()) is not None:
            session = self._waiting.popleft()
            self.sessions[free], session.row = session, free
        if self._rows and not any(self.sessions) and not self._frame:
            self._unread = self._rows = None
            self.sessions = []
            mx.clear_cache()

    def tidy(self, now: float) -> float | None:
        """Give back rows that have not been needed for long; returns when to look again."""
        self._let_go()
        width, used = len(self.sessions), sum(s is not None for s in self.sessions)
        if width < 2 or used * 4 > width:
            self._little_since = None
            return None
        if self._little_since is None:
            self._little_since = now
        if now - self._little_since >= _SHRINK_AFTER:
            self._finish_frame()
            keep = [row for row, session in enumerate(self.sessions) if session]
            if self._rows:
                self._rows.shrink(keep, width // 2)
            kept = [session for session in self.sessions if session]
            self.sessions = [*kept, *[None] * (width // 2 - len(kept))]
            for row, session in enumerate(kept):
                session.row = row
            self._little_since = now
            mx.clear_cache()
        return self._little_since + _SHRINK_AFTER

    # ---- running

    def claim(self, now: float) -> tuple[int, float] | None:
        """How urgent its next turn is and since when it waits; None if there is nothing to do."""
        if self._frame and self._frame.rank == LIVE:
            return LIVE, self._frame.since
        if not self._frame:
            self._let_go()
        live, files = self._ready(now)
        claims = [(LIVE, session.since) for session in live]
        if self._frame:  # of recordings: who waits for it to end makes it urgent
            claims.append((SPARE, self._frame.since))
        elif files:
            # One after another has its turn, some time before it would have waited for too long.
            oldest = min(session.since for session in files)
            due = max(self._file_went, oldest) + PATIENCE / len(files)
            claims.append((LIVE, due) if now >= due else (SPARE, oldest))
        if self._unread:
            waits = self._unread.since
            claims.append((LIVE if now - waits >= PATIENCE else SPARE, waits))
        return min(claims, default=None)

    def turn(self, now: float, clock: Callable[[], float], live_open: bool) -> None:
        """One turn of a frame: begin one, or go on with the one that was begun.

        live_open: whether a session of any batch is live. While none is, the next frame is begun
        before the last one is read, so that the device never waits for us.
        """
        start = clock()
        try:
            frame = self._frame = self._frame or self._begin(now, live_open)
            known = frame is not None and frame.go_on()
            self._finish_reading()  # of the frame before
            if frame and known:
                self._state_known(frame)
                if live_open or not frame.ahead:
                    self._finish_reading()
        except Exception as error:
            self.fail_by(error)
            return
        if frame:
            frame.since = clock()
            frame.seconds += frame.since - start
            if known:
                self._count(frame)

    def _state_known(self, frame: Frame) -> None:
        self._frame = None
        self._state.give_back(frame.rows, frame.state)
        for session in filter(None, frame.sessions):
            session.position += 1
        frame.state = None
        self._unread = frame

    def _count(self, frame: Frame) -> None:
        self.cost.learn(frame.going, frame.seconds)
        self.steps += 1

    def fail_by(self, error: Exception) -> None:
        """A step that raises ends the sessions of its batch, and no others."""
        log.error("%s: a step failed", self.name, exc_info=error)
        failed = RuntimeError(f"{self.name}: a step failed ({type(error).__name__}: {error})")
        failed.__cause__ = error
        self.fail(failed)

    def _finish_reading(self) -> None:
        frame, self._unread = self._unread, None
        if frame:
            frame.read()

    def _finish_frame(self) -> None:
        """To the end of what was begun: rows may be moved and read after it."""
        try:
            while frame := self._frame:
                if frame.go_on():
                    self._finish_reading()
                    self._state_known(frame)
            self._finish_reading()
        except Exception as error:
            self.fail_by(error)

    def _begin(self, now: float, live_open: bool) -> Frame | None:
        live, files = self._ready(now)
        files.sort(key=lambda session: session.since)
        waits = [now - session.since for session in files]
        going = choose(
            live,
            files,
            waits,
            self.cost,
            live_open=live_open,
            since_file=now - self._file_went,
        )
        if not going:
            return None
        if len(going) > len(live):
            self._file_went = now
        self._tell_if_late()
        since = min(session.since for session in going)
        for session in going:
            session.since = NOT_WAITING
        going.sort(key=lambda session: session.own_row)
        self._start_afresh(going)
        self._keep(going)
        rows = [session.own_row for session in going]
        sessions: list[Session | None] = list(going)
        active = None
        if self._masked and len(rows) < len(self.sessions):
            active = mx.array([row in rows for row in range(len(self.sessions))])
            sessions = [s if s in going else None for s in self.sessions]
            rows = list(range(len(self.sessions)))
        ahead = not live_open
        frame = self._step.frame(self._state.take(rows), sessions, active, ahead)
        return Frame(frame, rows, sessions, len(going), LIVE if live else SPARE, since, ahead)

    def _ready(self, now: float) -> tuple[list[Session], list[Session]]:
        """Sessions on rows whose next frame can be computed: live ones and others."""
        found: tuple[list[Session], list[Session]] = ([], [])
        busy = self._frame.sessions if self._frame else ()
        for session in self.sessions:
            if session is None or session.gone or session in busy:
                continue
            try:
                with session.changed:
                    news = session.prepare()
                    ready, urgent = session.ready, session.urgent
            except Exception as error:  # this session's alone
                session.fail(error)
                continue
            if news:
                session.tell()
            if not ready:
                session.since = NOT_WAITING
                continue
            session.since = min(session.since, now)
            found[0 if urgent else 1].append(session)
        return found

    def _start_afresh(self, going: list[Session]) -> None:
        """Rows whose session does not go on from where the row is are overwritten, all of them."""
        for session in going:
            beginning, session.beginning = session.beginning, None
            if beginning is None:
                continue
            session.position = self._step.position(beginning)
            self._state.put(session.own_row, beginning)

    def _keep(self, going: list[Session]) -> None:
        """Give their rows' states to those who may want to come back to them."""
        for session in going:
            with session.changed:
                if session.keeps:
                    session.keep(self._state.get(session.own_row))

    def _tell_if_late(self) -> None:
        live = sum(session is not None and session.live for session in self.sessions)
        known = self.steps >= _KNOWN_STEPS and not self._told_late
        if live and known and self.cost(live) > FRAME_SECONDS:
            self._told_late = True
            log.warning(
                "%s: %d live stream(s) need %.0f ms a frame of 80 ms on this machine; they fall "
                "behind evenly",
                self.name,
                live,
                1e3 * self.cost(live),
            )
