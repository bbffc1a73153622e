"""uvicorn's two protocols, made patient with slow models and impatient with those who hold on to a
connection and do nothing. Everything else is as uvicorn has it."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from dsm_mlx.serve.options import Limits


class _Reading:
    """Whoever does not read what is sent to him is let go: his buffer is full for too long."""

    limits = Limits()
    transport: asyncio.Transport
    _stalled: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        loop = asyncio.get_running_loop()
        self._stalled = loop.call_later(self.limits.stalled, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()  # type: ignore[misc]
        self._read_again()

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_again()
        super().connection_lost(exc)  # type: ignore[misc]

    def _read_again(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None


class HttpProtocol(_Reading, H11Protocol):
    """A request must come within some seconds, and there is an end to open connections."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > 2 * self.limits.connections:
            transport.abort()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._idle:
            self._expect()
        else:
            self._came()

    def connection_lost(self, exc: Exception | None) -> None:
        self._came()
        super().connection_lost(exc)

    @property
    def _idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _expect(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.limits.request, self._give_up)

    def _came(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self._idle and self.transport.get_protocol() is self:  # and no websocket by now
            self.transport.abort()


class SocketProtocol(_Reading, WSProtocol):
    """Any frame is a sign of life, not only the answer to a ping: that one may lie behind seconds
    of sound which are not read because the model has enough of it."""

    _heard = 0.0

    def data_received(self, data: bytes) -> None:
        self._heard = self.loop.time()
        super().data_received(data)

    def handle_ping(self, event) -> None:
        if self.writable.is_set():  # else answers would pile up for one who does not read them
            super().handle_ping(event)

    def keepalive_timeout(self) -> None:
        silent, most = self.loop.time() - self._heard, self.limits.silent
        if self.read_paused or silent < most:
            again = most if self.read_paused else most - silent
            self.pong_timer = self.loop.call_later(again, self.keepalive_timeout)
        else:
            super().keepalive_timeout()


def protocols(limits: Limits) -> tuple[type[HttpProtocol], type[SocketProtocol]]:
    """The two, with these limits."""
    attributes = {"limits": limits}
    return (
        type("HttpProtocol", (HttpProtocol,), attributes),
        type("SocketProtocol", (SocketProtocol,), attributes),
    )
