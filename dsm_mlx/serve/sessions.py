"""What all websocket endpoints share: sending and receiving, the end of a session, and the end of
the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect
from wsproto.frame_protocol import CloseReason

STOPPING = "the server is stopping"
"""What those are told whose session ends because of that."""


class Sessions:
    """Who is at work, so that they can be told when the server stops.

    stopping: set once, when it does. A session that sees it comes to its end: what has been heard
    is told, what was given to say is said.
    """

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self._over = asyncio.Event()
        self._open = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Somebody is at work in this block."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._over.set()

    async def stop(self, seconds: float) -> bool:
        """Tell all, and wait until nobody is at work; False if that takes longer."""
        self.stopping.set()
        self._over.clear()
        if not self._open:
            return True
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True


async def receive(websocket: WebSocket) -> str | bytes:
    """The next message; WebSocketDisconnect when the client has gone."""
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1006))
    text, data = message.get("text"), message.get("bytes")
    return (data or b"") if text is None else text


async def close(
    websocket: WebSocket, code: int = CloseReason.NO_STATUS_RCVD, reason: str = ""
) -> None:
    """Close a websocket that may be closed already. Without a code the close frame is empty, which
    Kyutai's clients take for a good end, and nothing else."""
    with suppress(WebSocketDisconnect, RuntimeError):  # which it may be already
        await websocket.close(CloseReason(code), reason)


async def first_of(*works: Awaitable[Any]) -> Any:
    """Run these together until the first of them ends; what it returns or raises. The others are
    cancelled, and have ended when this returns."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task in done).result()
    finally:
        await _end(tasks)


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    """Cancel them until they have ended: before Python 3.12 `wait_for` may swallow a cancellation
    that comes in the same instant as its result."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # which asyncio would write into the log otherwise


class Idle:
    """How long it is since something came."""

    def __init__(self, most: float):
        """most: seconds."""
        self._most, self._clock = most, asyncio.get_running_loop().time
        self._since = self._clock()

    def came(self) -> None:
        self._since = self._clock()

    async def too_long(self) -> None:
        """Raises TimeoutError when nothing has come for so long."""
        while (left := self._since + self._most - self._clock()) > 0:
            await asyncio.sleep(left)
        raise asyncio.TimeoutError
