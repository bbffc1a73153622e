"""What one client has sent and nobody has taken yet."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST_WAITING = 1000  # items: then the client has to wait


class Inbox(Generic[Item]):
    """One task puts, one takes, in an event loop. How much may wait, the one that puts decides.

    items: what waits, the oldest first.
    """

    def __init__(self) -> None:
        self.items: deque[Item] = deque()
        self._came, self._less = asyncio.Event(), asyncio.Event()

    @property
    def is_crowded(self) -> bool:
        return len(self.items) > MOST_WAITING

    def put(self, item: Item) -> None:
        self.items.append(item)
        self._came.set()

    async def filled(self) -> None:
        """Wait until something is there."""
        while not self.items:
            self._came.clear()
            await self._came.wait()

    def take(self) -> Item:
        """The oldest, which is there."""
        item = self.items.popleft()
        self.lighten()
        return item

    def lighten(self) -> None:
        """Less waits than before, here or where it went: whoever waits in `less` looks again."""
        self._less.set()

    async def less(self) -> None:
        """Wait until less waits than now."""
        self._less.clear()
        await self._less.wait()
