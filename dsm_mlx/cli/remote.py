"""A server that listens and speaks by Kyutai's protocol: its address, and a connection to it."""

from __future__ import annotations

import os
import queue
import socket
import ssl
import threading
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from dsm_mlx.errors import BusyError
from dsm_mlx.messages import cut, shown

KEY_VARIABLE = "DSM_MLX_API_KEY"
_PUBLIC = "public_token"  # what Kyutai's own servers take where nothing else is said
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_CONNECT_SECONDS = 10.0
_CLOSE_SECONDS = 1.0
_UNSENT = 16  # messages: then whoever sends has to wait
_ENDED = None


def module(name: str) -> Any:
    """One of the modules beside this one, with the packages that they need; ValueError where one of
    those is missing."""
    try:
        import_module("websockets.sync.client")
        return import_module(f"dsm_mlx.cli.{name}")
    except ImportError as error:
        raise ValueError(
            f"--server needs the package {error.name} (pip install 'dsm-mlx[client]')"
        ) from None


class ServerError(OSError):
    """A server that cannot be had, or has gone."""


@dataclass(frozen=True)
class Server:
    """Where a server is, and the key to show it.

    url: as messages call it. place: what comes before the path in a websocket's address. unix: of
    a socket in the file system.
    """

    url: str
    place: str
    unix: str | None = None
    key: str = field(default=_PUBLIC, repr=False)

    @classmethod
    def of(cls, text: str, key: str | None = None) -> Server:
        """From an address such as `http://host:8080`, `host:8080` or `unix:/path`; ValueError for
        anything else. Without a key, that of the environment."""
        key = key or os.environ.get(KEY_VARIABLE) or _PUBLIC
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the key holds signs that no key has")
        if text.startswith("unix:"):
            path = text.removeprefix("unix:").removeprefix("//")
            if not path:
                raise ValueError(f"server is {shown(text)} (expected unix:PATH)")
            return cls(text, "ws://localhost", path, key)
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            parts.port  # noqa: B018 - which raises
        except ValueError:
            parts = urlsplit("")
        bare = parts.hostname and "@" not in parts.netloc and not (parts.query or parts.fragment)
        if parts.scheme not in _SCHEMES or not bare:
            raise ValueError(
                f"server is {shown(text)} (expected http://HOST:PORT, https://HOST or unix:PATH; "
                "a key is given by --api-key)"
            )
        place = f"{_SCHEMES[parts.scheme]}://{parts.netloc}{parts.path.rstrip('/')}"
        return cls(text, place, None, key)

    def connect(self, path: str, stack: ExitStack) -> Any:
        """A websocket of the package `websockets`, which `stack` closes; ServerError that tells why
        there is none."""
        from websockets.exceptions import (
            InvalidHandshake,
            InvalidProxy,
            InvalidStatus,
            InvalidURI,
            ProxyError,
        )
        from websockets.sync.client import connect, unix_connect

        options: dict[str, Any] = {
            "additional_headers": {"kyutai-api-key": self.key},
            "compression": None,
            "open_timeout": _CONNECT_SECONDS,
            "close_timeout": _CLOSE_SECONDS,
            "ping_timeout": None,  # a server with much to hear may read no ping for long
            "max_size": 16 << 20,
        }
        uri = self.place + path
        try:
            opening = unix_connect(self.unix, uri, **options) if self.unix else None
            return stack.enter_context(opening or connect(uri, **options))
        except InvalidStatus as error:
            raise self._error(_refusal(error.response)) from None
        except (InvalidProxy, ProxyError, ImportError) as error:  # a package for SOCKS
            raise self._error(f"by the environment's proxy: {cut(str(error), 120)}") from None
        except (InvalidHandshake, InvalidURI, EOFError):
            raise self._error("no dsm-serve and no moshi-server answers there") from None
        except ssl.SSLCertVerificationError as error:
            raise self._error(f"its certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError:
            raise self._error("it does not speak TLS (http:// instead of https://?)") from None
        except ConnectionRefusedError:
            raise self._error("nothing listens there (connection refused)") from None
        except TimeoutError:
            raise self._error(f"no answer within {_CONNECT_SECONDS:g} s") from None
        except OSError as error:
            raise self._error(error.strerror or cut(str(error), 120)) from None

    def _error(self, reason: str) -> ServerError:
        return ServerError(f"{self.url}: {reason}")

    def gone(self, code: int | None, reason: str) -> ServerError:
        """What to tell of a connection that is over too early."""
        more = f" ({code}{': ' * bool(reason)}{cut(reason, 120)})" if code != 1006 else ""
        return self._error(f"the server has gone{more}")

    def stranger(self) -> ServerError:
        """What to tell of one that does something else."""
        return self._error("what it sends is not Kyutai's protocol")

    def told(self, message: str) -> Exception:
        """What an Error of the server's says."""
        if message == "no free channels":
            return BusyError(f"{self.url}: all its streams are in use")
        return self._error(cut(message, 200))


def _refusal(response: Any) -> str:
    if response.status_code == 401:
        return f"it wants another key (--api-key, or {KEY_VARIABLE})"
    told = cut((response.body or b"").decode("utf-8", "replace"), 120)
    if response.status_code in (403, 404) and not told:
        return "it has no model for this"
    return f"it answered with status {response.status_code}{': ' * bool(told)}{told}"


class Connection:
    """Messages to a server and from it.

    Threads write and read, so that Ctrl-C, which comes to the main thread, cuts no message in two.
    """

    def __init__(self, server: Server, path: str, ahead: int = 0):
        """ServerError where there is none, BusyError where it has no room.

        ahead: messages that are received and not yet taken; then the server has to wait. 0: any
        number.
        """
        self._server, self._stack = server, ExitStack()
        self._socket = server.connect(path, self._stack)
        self._strange = False
        self._outbox: queue.Queue[bytes | None] = queue.Queue(_UNSENT)
        self._inbox: queue.Queue[dict[str, Any] | None] = queue.Queue(ahead)
        self._over = threading.Event()
        for work in (self._write, self._read):
            threading.Thread(target=work, daemon=True).start()
        try:
            self._be_ready()
        except BaseException:
            self.close(at_once=True)
            raise

    def _be_ready(self) -> None:
        try:
            message = self.receive(_CONNECT_SECONDS)
        except EOFError:
            raise self.gone() from None
        if message is None or message["type"] != "Ready":
            raise self._server.stranger()

    def send(self, message: bytes) -> None:
        """Wait until there is room for it. What is sent to a server that has gone is lost, which
        `receive` will tell."""
        while not self._over.is_set():
            with suppress(queue.Full):
                self._outbox.put(message, timeout=0.1)
                return

    def receive(self, timeout: float | None = None) -> dict[str, Any] | None:
        """The next message; None where none comes within `timeout` seconds.

        Raises ServerError or BusyError for one that tells of an error, and EOFError when the
        server has closed.
        """
        try:
            message = self._inbox.get(timeout is None or timeout > 0, timeout or None)
        except queue.Empty:
            return None
        if message is _ENDED:
            self._inbox.put(_ENDED)  # for who asks again
            raise EOFError
        if message["type"] == "Error":
            raise self._server.told(str(message.get("message")))
        return message

    @property
    def closed_well(self) -> bool:
        """Whether the server ended it as it should: Kyutai's close without a code."""
        return self._socket.close_code in (1000, 1005) and not self._strange

    def gone(self) -> ServerError:
        """What to tell of a server that closed too early."""
        if self._strange:
            return self.stranger()
        return self._server.gone(self._socket.close_code, self._socket.close_reason or "")

    def stranger(self) -> ServerError:
        """What to tell of a server that sends what nobody expects."""
        return self._server.stranger()

    def close(self, at_once: bool = False) -> None:
        """at_once: without telling the server, which may be busy with what nobody wants."""
        self._over.set()
        if at_once:
            with suppress(OSError):
                self._socket.socket.shutdown(socket.SHUT_RDWR)
        with suppress(queue.Full):
            self._outbox.put_nowait(None)
        self._stack.close()

    def _write(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed, OSError):
            while (message := self._outbox.get()) is not None:
                self._socket.send(message)
        self._over.set()

    def _read(self) -> None:
        from websockets.exceptions import ConnectionClosed

        from dsm_mlx.serve.kyutai import messages

        try:
            for data in self._socket:
                if isinstance(data, bytes):
                    self._inbox.put(messages.read(data))
        except (ConnectionClosed, OSError):
            pass
        except messages.MessageError:
            self._strange = True
        self._over.set()
        self._inbox.put(_ENDED)
