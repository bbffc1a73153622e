"""The sound of one answer on its way to a client: how much was sent, and how much was heard."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np

from dsm_mlx.serve.openai.incoming import RATE

AHEAD = 5.0  # seconds that are sent before they are heard


class Playing:
    """`Plays` of one utterance, at a client's, who gets its sound as it is made.

    Where it is, a client may tell (`played`). From there, and from the first sound on, it goes on
    with the clock, and stands still where no sound is left.
    """

    def __init__(
        self,
        send: Callable[[np.ndarray], None],
        sent: Callable[[], None],
        room: Callable[[], Awaitable[None]],
        begins: float,
    ):
        """send: sound to the client; sent: all was. room: waits until more may be sent. begins:
        seconds of the loop's clock before which the client still has earlier sound to play."""
        self._send, self._sent, self._room = send, sent, room
        self._clock = asyncio.get_running_loop().time
        self._at, self._since = 0.0, begins
        self._over = self._stopped = False
        self._changed = asyncio.Event()
        self.written = 0.0  # seconds that were sent

    @property
    def position(self) -> float:
        """Seconds of it that have been heard."""
        went_on = 0.0 if self._stopped else max(0.0, self._clock() - self._since)
        return min(self.written, self._at + went_on)

    @property
    def ends(self) -> float:
        """When nothing of it will be heard any more, by the loop's clock."""
        if self._stopped:
            return self._clock()
        return max(self._clock(), self._since) + self.written - self.position

    def played(self, second: float) -> None:
        """The client says that so much was heard."""
        if not self._stopped:
            self._at, self._since = min(second, self.written), self._clock()
            self._changed.set()

    def let_be(self) -> None:
        """Nobody has to wait until the rest is heard."""
        self._over = True
        self._changed.set()

    # ---- as an utterance uses it

    async def begin(self) -> int:
        return 0

    async def write(self, turn: int, pcm: np.ndarray) -> None:
        await self._room()
        while not self._over and (early := self.written - self.position - AHEAD) > 0:
            await self._wait(early)
        if self._over:
            return
        self._at, self._since = self.position, max(self._since, self._clock())
        self.written += len(pcm) / RATE
        self._send(pcm)

    async def drain(self) -> None:
        self._sent()
        while not self._over and (left := self.ends - self._clock()) > 0:
            await self._wait(left)

    def stop(self) -> float:
        self._at, self._stopped = self.position, True
        self.let_be()
        return self._at

    async def _wait(self, seconds: float) -> None:
        """So long, or until something changes. No `wait_for`: before Python 3.12 it may swallow the
        cancellation that follows a `stop`."""
        self._changed.clear()
        later = asyncio.get_running_loop().call_later(seconds, self._changed.set)
        try:
            await self._changed.wait()
        finally:
            later.cancel()
