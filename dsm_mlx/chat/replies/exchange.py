"""Requests to a server over HTTP, and answers that any thread may break off."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dsm_mlx.chat.replies.completions import message_of
from dsm_mlx.checks import check_text
from dsm_mlx.errors import ReplyError
from dsm_mlx.messages import cut, shown

CONNECT_SECONDS = 10.0
BROKE_OFF = "the answer broke off"
_LONGEST_LINE = 1 << 20  # bytes
_LONGEST_ANSWER = 4 << 20
_ENDINGS = ("/chat/completions", "/models")


class RefusedError(ReplyError):
    """An answer that is an error. status: HTTP's."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Address:
    """Where a server is, and the key to show it, which no message of ours has.

    url: as messages call it. path: what comes before /chat/completions.
    """

    url: str
    secure: bool
    host: str
    port: int | None
    path: str
    key: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, key: str | None = None) -> Address:
        """From `http://host:11434`, `host:11434` or `https://host/api/v1`, with or without the
        endpoint's own name at its end; where there is no path it is /v1.

        Raises:
            ValueError: it is no such address, or the key cannot be one.
        """
        check_text("url", url)
        if key is not None and not (key and key.isascii() and key.isprintable()):
            raise ValueError("the key holds signs that no key has, or none at all")
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        bare = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
        plain = parts.path.isascii() and parts.path.isprintable() and " " not in parts.path
        if parts.scheme not in ("http", "https") or not bare or not plain:
            raise ValueError(f"url is {shown(url)} (expected http://HOST:PORT or https://HOST/v1)")
        path = parts.path.rstrip("/")
        for ending in _ENDINGS:
            path = path.removesuffix(ending)
        secure, host = parts.scheme == "https", str(parts.hostname)
        return cls(url, secure, host, port, path or "/v1", key)

    def told(self, message: str) -> str:
        """The message of an error. What the server told may hold the key that it was shown."""
        if self.key:
            message = message.replace(self.key, "***")
        return f"{cut(self.url, 120)}: {message}"


class Exchange:
    """One request after another, each on a connection of its own.

    timeout: seconds without anything that counts (see `go_on`), until a server is given up.
    """

    def __init__(self, address: Address, timeout: float):
        self._address, self._timeout, self._left = address, timeout, timeout
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._response: http.client.HTTPResponse | None = None
        self.broken_off = False

    # ---- any thread

    def break_off(self) -> None:
        """End what is going on, at once; whoever waits for it gets an error. Takes no lock."""
        self.broken_off = True
        if (connected := self._socket) is not None:
            with suppress(OSError):
                # Not by the method of a socket for TLS, which cannot be called while it is read.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)

    # ---- one thread

    def request(self, method: str, path: str, body: bytes | None = None) -> http.client.HTTPMessage:
        """Send one, and wait for the answer's head: its headers.

        Raises:
            RefusedError: the answer is an error.
            ReplyError: there is no server.
        """
        self.close()
        self.go_on()
        headers = {"Accept": "text/event-stream, application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self._address.key:
            headers["Authorization"] = f"Bearer {self._address.key}"
        try:
            response = self._send(method, self._address.path + path, body, headers)
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise ReplyError(self._address.told(self._reason(error))) from None
        if response.status // 100 != 2:
            told = _refusal(response.status, self._told())
            raise RefusedError(self._address.told(told), response.status)
        return response.headers

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        kind = http.client.HTTPSConnection if self._address.secure else http.client.HTTPConnection
        patience = min(self._timeout, CONNECT_SECONDS)
        connection = kind(self._address.host, self._address.port, timeout=patience)
        self._connection = connection
        connection.connect()
        # The connection forgets its socket when an answer says that it is the last one.
        self._socket = connection.sock
        if self.broken_off:
            raise ConnectionAbortedError("closed")
        connection.sock.settimeout(self._timeout)
        connection.request(method, path, body, dict(headers))
        self._response = connection.getresponse()
        return self._response

    def answer(self) -> bytes:
        """The rest of the answer, 4 MB at most. ReplyError if it broke off or stalled."""
        found = bytearray()
        for data in self._read():
            found += data
            if len(found) > _LONGEST_ANSWER:
                break
        return bytes(found)

    def _told(self) -> str:
        """What an answer that is an error says; "" if that cannot be had."""
        try:
            return message_of(self.answer())
        except ReplyError:
            return ""

    def lines(self) -> Iterator[bytes]:
        """The answer's lines as they come, without their ends.

        Raises:
            ReplyError: it broke off, it stalled, or a line has no end.
        """
        held = bytearray()
        for data in self._read():
            held += data
            *whole, rest = held.split(b"\n")
            held = bytearray(rest)
            for line in whole:
                yield bytes(line).rstrip(b"\r")
            if len(held) > _LONGEST_LINE:
                raise ReplyError(self._address.told("what it sends is not in lines"))
        if held:
            yield bytes(held)

    def go_on(self) -> None:
        """Say that something came that counts, from which on the server has time again."""
        self._left = self._timeout

    def _read(self) -> Iterator[bytes]:
        assert self._response is not None and self._socket is not None
        while True:
            before = time.monotonic()
            try:
                if self._left <= 0:
                    raise TimeoutError
                if not self._response.isclosed():
                    self._socket.settimeout(self._left)
                data = self._response.read1(1 << 16)
            except TimeoutError:
                told = f"nothing more came for {self._timeout:g} s"
                raise ReplyError(self._address.told(told)) from None
            except (OSError, http.client.HTTPException, ValueError):
                raise ReplyError(self._address.told(BROKE_OFF)) from None
            self._left -= time.monotonic() - before
            if not data:
                return
            yield data

    def close(self) -> None:
        """Give the connection back."""
        for thing in (self._response, self._connection):
            if thing is not None:
                with suppress(OSError):
                    thing.close()
        self._response = self._connection = self._socket = None

    def _reason(self, error: Exception) -> str:
        """Why there is no answer."""
        if isinstance(error, ConnectionRefusedError):
            return "nothing listens there (connection refused)"
        if isinstance(error, TimeoutError):
            patience = self._timeout if self._socket else min(self._timeout, CONNECT_SECONDS)
            return f"no answer within {patience:g} s"
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {error.verify_message}"
        if isinstance(error, ssl.SSLError):
            return "it does not speak TLS (http:// instead of https://?)"
        if isinstance(error, (http.client.HTTPException, ConnectionError, UnicodeError)):
            return "no OpenAI-compatible server answers there"
        return cut(str(getattr(error, "strerror", None) or error), 120)


def _refusal(status: int, told: str) -> str:
    """What to tell of an answer that is an error. told: by the server."""
    reasons = {401: "it wants another key", 403: "it wants another key", 404: "it has no such page"}
    known = reasons.get(status, "")
    if told or not known:
        return f"it answered with status {status}{': ' * bool(told)}{told}"
    return f"{known} (status {status})"


def is_stream(headers: Any) -> bool:
    """Whether an answer comes as server-sent events."""
    return bool(headers.get_content_type() == "text/event-stream")
