"""Events on their way to a client, in the order in which things happen."""

from __future__ import annotations

from typing import Any

from starlette.websockets import WebSocket

from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.openai.events import event_of, send
from dsm_mlx.serve.sessions import Idle


class Wire:
    """What happens is told at once, and sent when the client takes it; `room` waits where it takes
    less than is told."""

    def __init__(self, websocket: WebSocket, idle: Idle):
        self._websocket, self._idle = websocket, idle
        self._waiting: Inbox[dict[str, Any]] = Inbox()

    def tell(self, kind: str, **fields: Any) -> None:
        self.put(event_of(kind, **fields))

    def put(self, event: dict[str, Any]) -> None:
        self._idle.came()  # who is answered is not forgotten
        self._waiting.put(event)

    async def room(self) -> None:
        """Until not too much waits."""
        while self._waiting.is_crowded:
            await self._waiting.less()

    async def send(self) -> None:
        """For ever."""
        while True:
            await self._waiting.filled()
            await self.send_waiting()

    async def send_waiting(self) -> None:
        """What waits now."""
        while self._waiting.items:
            await send(self._websocket, self._waiting.take())
