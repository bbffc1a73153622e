"""Listening, and stopping without cutting anybody short."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import uvicorn

from dsm_mlx.runtime.signals import take_over
from dsm_mlx.serve.options import ServerOptions, addresses
from dsm_mlx.serve.protocols import protocols
from dsm_mlx.serve.sessions import Sessions

_SYSTEM_BYTES = 1 << 17  # that the system keeps of a connection, each way: a second of sound
_CLOSING = 2  # seconds for those who did not come to an end


class Beside(Protocol):
    """Another server, that begins and ends with this one."""

    async def start(self) -> None:
        """Begin to accept."""

    def close(self) -> None:
        """Nobody new."""

    async def end(self) -> None:
        """Close the connections of those who are still there."""


class Server(uvicorn.Server):
    """Stops in peace: nobody new, those at work finish or are told, status 0.

    A second signal stops at once.
    """

    def __init__(
        self,
        app: Callable,
        options: ServerOptions,
        sessions: Sessions,
        ready: Callable[[], None] = lambda: None,
        beside: Sequence[Beside] = (),
    ):
        """ready: called when clients are accepted, in the event loop."""
        self._beside = beside
        http, websockets = protocols(options.limits)
        self._limits, self._sessions, self._ready = options.limits, sessions, ready
        super().__init__(
            uvicorn.Config(
                app,
                http=http,
                ws=websockets,
                loop="asyncio",
                lifespan="on",
                ws_max_size=options.limits.message,
                ws_ping_interval=options.limits.ping,
                ws_ping_timeout=max(options.limits.silent - options.limits.ping, 0.1),
                # What is compressed well is no sound, and a small message could fill the memory.
                ws_per_message_deflate=False,
                log_config=None,
                log_level="critical",  # it would log addresses with their queries, and so keys
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_CLOSING,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for other in self._beside:
            await other.start()
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()  # nobody new
        for other in self._beside:
            other.close()
        stopping = asyncio.ensure_future(self._sessions.stop(self._limits.drain))
        while not (stopping.done() or self.force_exit):
            await asyncio.wait({stopping}, timeout=0.1)
        stopping.cancel()
        for other in self._beside:
            await other.end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals end the server, and not the process; those that it ignores stay ignored."""
        before = take_over(self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: object) -> None:
        self.force_exit, self.should_exit = self.should_exit, True


def bind(options: ServerOptions) -> list[socket.socket]:
    """Sockets of the address, on which nobody listens yet: to be told early that it is in use.

    OSError that names what is wrong.
    """
    if options.unix_socket:
        return [_unix(options.unix_socket)]
    return bind_at(options.host, options.port, "--host and --port choose another address")


def bind_at(host: str, port: int, hint: str) -> list[socket.socket]:
    """The same at a host, which gets as many sockets of one port as it has addresses.

    hint: what else can be chosen.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses(host):
            sockets.append(_tcp(address, port, hint))
            port = sockets[0].getsockname()[1]
    except BaseException:
        for bound in sockets:
            bound.close()
        raise
    return sockets


def _tcp(address: str, port: int, hint: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for way in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            bound.setsockopt(socket.SOL_SOCKET, way, _SYSTEM_BYTES)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise OSError(
            f"cannot listen at {address} port {port}: {error.strerror or error} ({hint})"
        ) from None
    return bound


def _unix(path: str) -> socket.socket:
    """A socket in the file system, for its owner alone. What a server left behind is replaced."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        if _left_behind(path):
            os.unlink(path)
        bound.bind(path)
    except OSError as error:
        bound.close()
        raise OSError(f"cannot listen at {path}: {error.strerror or error}") from None
    finally:
        os.umask(mask)
    return bound


def _left_behind(path: str) -> bool:
    """Whether there is a socket on which nobody listens."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except FileNotFoundError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trying:
        try:
            trying.connect(path)
        except ConnectionRefusedError:
            return True
    return False


def urls(options: ServerOptions, sockets: list[socket.socket]) -> list[str]:
    """Where a browser finds the server, the likeliest first."""
    if options.unix_socket:
        return [f"unix:{options.unix_socket}"]
    return [f"http://{place}/" for place in places(sockets)]


def places(sockets: list[socket.socket]) -> list[str]:
    """Where sockets are found, as name:port, the likeliest first."""
    found = []
    for bound in sockets:
        address, port = bound.getsockname()[:2]
        names = [f"[{address}]" if ":" in address else address]
        if address in ("0.0.0.0", "::"):  # which are no addresses to go to
            names = [socket.gethostname(), "127.0.0.1" if address == "0.0.0.0" else "[::1]"]
        found += [f"{name}:{port}" for name in names]
    return list(dict.fromkeys(found))
