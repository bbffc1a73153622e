"""Events on their way to whoever takes them."""

from __future__ import annotations

import asyncio
from collections import deque

from dsm_mlx.chat.events import Event, Partial

_MOST = 1000  # events that nobody has taken: then no more is heard


class Outbox:
    """Holds events until they are taken, in one event loop. Of partial words in a row only the
    latest is kept."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = asyncio.Event()
        self._error: Exception | None = None
        self._ended = False

    def put(self, event: Event) -> None:
        if isinstance(event, Partial) and self._events and isinstance(self._events[-1], Partial):
            self._events.pop()
        self._events.append(event)
        self._changed.set()

    def end(self, error: Exception | None = None) -> None:
        """No more comes; `error` is raised after all that is there. The first call counts."""
        if not self._ended:
            self._ended, self._error = True, error
        self._changed.set()

    async def take(self) -> Event | None:
        """The oldest event, or None at the end. May be cancelled without loss."""
        while not (self._events or self._ended):
            self._changed.clear()
            await self._changed.wait()
        if self._events:
            self._changed.set()  # there is room
            return self._events.popleft()
        error, self._error = self._error, None
        if error:
            raise error
        return None

    async def room(self) -> None:
        """Until not too many wait."""
        while len(self._events) >= _MOST and not self._ended:
            self._changed.clear()
            await self._changed.wait()
