"""What a server is started with: where it listens, who may come, and how much they may ask for."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from dsm_mlx.checks import check_path, check_text, check_whole, is_number
from dsm_mlx.messages import shown

_KEY = re.compile(r"[!-~]{1,256}")  # what a header can hold


@dataclass(frozen=True)
class Limits:
    """How much anybody may ask for. Seconds, bytes and characters.

    connections: requests and websockets at the same time; as many idle sockets again.
    message: bytes of a websocket message. body: of a request's body, such as a sound file; json: of
        one that is text. text: characters that one connection may say. whole_text: that one
        request may, whose sound is kept until it is complete.
    request: seconds for a request to come, headers and all. idle: without a message that means
        anything (listeners), speech_idle: the same for speakers who have nothing to say.
    ping: between two pings; silent: without a single frame, answers to pings included.
    stalled: how long somebody may not read what is sent to him.
    wait: for a row, and for a piece of a body. drain: what those who are at work get when the
        server stops.
    """

    connections: int = 128
    message: int = 16 << 20
    body: int = 256 << 20
    json: int = 1 << 20
    text: int = 200_000
    whole_text: int = 20_000
    request: float = 10.0
    idle: float = 120.0
    speech_idle: float = 600.0
    ping: float = 10.0
    silent: float = 30.0
    stalled: float = 30.0
    wait: float = 100.0
    drain: float = 10.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not is_number(value, (int, float)) or not 0 <= value < 1 << 40:
                raise ValueError(f"{name} is {shown(value)} (expected a number from 0 up)")


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens and who may come.

    host, port: of a TCP socket; port 0 takes any that is free. unix_socket: a path instead.
    keys: one of them must be presented, if there are any; needed where the host is not this
        machine's alone (see `exposed`). origins: of web pages that may come beside the server's
        own, such as "https://example.com"; their hosts may be asked for, too, as behind a proxy.
    wyoming_host, wyoming_port: of the TCP socket for Wyoming's clients, who know no keys; no such
        socket without a port. zeroconf: the name by which that one is told to its network, by
        mDNS; None: it is not.

    Raises:
        ValueError: which of them is wrong, and what was expected.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    unix_socket: str | None = None
    keys: tuple[str, ...] = field(default=(), repr=False)
    origins: tuple[str, ...] = ()
    wyoming_host: str = "127.0.0.1"
    wyoming_port: int | None = None
    zeroconf: str | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        _check_place(self.host, self.port)
        if self.wyoming_port is not None:
            _check_place(self.wyoming_host, self.wyoming_port, "wyoming_")
        if self.zeroconf is not None:
            check_instance(self.zeroconf)
            if self.wyoming_port is None:
                raise ValueError("zeroconf tells of Wyoming's port, and there is none")
        for name in ("keys", "origins"):
            if not isinstance(value := getattr(self, name), (tuple, list)):
                # a string would be taken for a key of each of its letters
                raise TypeError(f"{name} are no tuple of strings, but {type(value).__name__}")
        if self.unix_socket is not None:
            check_path("unix_socket", self.unix_socket)
        if not isinstance(self.limits, Limits):
            raise TypeError(f"limits is {shown(self.limits)} (expected Limits)")
        for key in self.keys:
            if not isinstance(key, str) or not _KEY.fullmatch(key):
                raise ValueError("a key is not 1 to 256 ASCII letters, digits or signs, unspaced")
        for origin in self.origins:
            if not _is_origin(origin):
                raise ValueError(
                    f"origin is {shown(origin)} (expected scheme://host or scheme://host:port)"
                )

    @property
    def exposed(self) -> bool:
        """Whether others than this machine's users can come."""
        return not self.unix_socket and _is_open(self.host)

    @property
    def wyoming_exposed(self) -> bool:
        """The same for Wyoming's clients."""
        return self.wyoming_port is not None and _is_open(self.wyoming_host)


def addresses(host: str) -> list[str]:
    """What a host stands for; OSError, naming it, if nothing."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(f"host {shown(host)}: {reason}") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def check_instance(name: str) -> str:
    """ValueError for what cannot be the name of a service in mDNS: 1 to 63 bytes on one line."""
    check_text("zeroconf", name)
    if not name.isprintable() or not 0 < len(name.encode()) <= 63:
        raise ValueError(f"zeroconf is {shown(name)} (expected a name of 1 to 63 bytes)")
    return name


def _check_place(host: object, port: object, prefix: str = "") -> None:
    check_whole(f"{prefix}port", port, 0, 65535)
    if not isinstance(host, str) or not host:
        raise ValueError(f"{prefix}host is {shown(host)} (expected a name or an address)")


def _is_open(host: str) -> bool:
    return not all(map(_is_loopback, addresses(host)))


def _is_origin(origin: object) -> bool:
    if not isinstance(origin, str) or "*" in origin:
        return False
    try:
        parts = urlsplit(origin)
        parts.port  # noqa: B018 - which raises
    except ValueError:
        return False
    return bool(parts.scheme and parts.hostname) and origin == f"{parts.scheme}://{parts.netloc}"


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback
