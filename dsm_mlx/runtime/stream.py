"""What the streams of both wings are to their sessions: they give the row back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsm_mlx.runtime import worker
from dsm_mlx.runtime.session import Session
from dsm_mlx.runtime.waiting import Alone


class RowStream:
    """A handle on a session, whose row is free when it is closed or dropped."""

    def __init__(self, session: Session, closed: Callable[[Any], None]):
        """closed: told once, with this stream, when it is closed."""
        self._session, self._closed_by = session, closed
        self._closed, self._alone = False, Alone()

    def _give_back(self) -> None:
        """Close it, once."""
        if not self._closed:
            worker.post(self._session.stop)  # first: after it Ctrl-C may come
            self._closed = True
            self._closed_by(self)

    def __del__(
        self, post: Callable[..., None] = worker.post
    ) -> None:  # at the interpreter's end `worker` is None
        if not getattr(self, "_closed", True):
            post(self._session.stop)  # takes no lock, whatever thread this is
