"""Who may come, and how much at a time. Every request and every websocket passes here first.

Any page that a browser shows can open a socket to this machine, so the Host (against names that
somebody points at us) and the Origin (against pages of others) are looked at before anything else.
Keys are compared in constant time. Nothing here, and nothing elsewhere in this room, logs a key,
sound or words: a log line has a path without its query, and of an error the kind and the place.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
import traceback
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from dsm_mlx.serve.options import ServerOptions

log = logging.getLogger("dsm_mlx")

_HERE = ("localhost", "127.0.0.1", "::1")
_SOCKETS = ("http", "websocket")


def refusal(scope: Scope, status: int, message: str = "") -> Response:
    """What somebody gets who may not come in, or asks for what cannot be; also before the upgrade
    to a websocket. Under `/v1/` it has the shape that OpenAI's clients expect."""
    if scope["path"].startswith("/v1/"):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        error = {"message": message, "type": kind, "param": None, "code": None}
        return JSONResponse({"error": error}, status)
    return PlainTextResponse(message, status)


class Errors:
    """What went wrong in an endpoint is told in the log, without what the error says: that may
    quote what a client sent."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except (ClientDisconnect, WebSocketDisconnect):
            pass  # it has gone
        except Exception as error:
            log.error("%s of %s: %s", scope["type"], scope["path"][:80], told(error))
            if not begun:
                await refusal(scope, 500, "something went wrong in the server")(
                    scope, receive, send
                )
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1011, "reason": "internal error"})
            else:  # half an answer must not look like a whole one
                raise ConnectionAbortedError from None


def told(error: BaseException) -> str:
    """An error for the log: its kind, and where it happened."""
    places = traceback.extract_tb(error.__traceback__)
    where = ", ".join(f"{place.name} in {place.filename}:{place.lineno}" for place in places[-2:])
    return f"{type(error).__name__} ({where or 'nowhere'})"


class Places:
    """Looks at Host and Origin."""

    def __init__(self, app: ASGIApp, options: ServerOptions):
        self._app, self._anywhere = app, bool(options.unix_socket)
        self._origins = {origin.lower() for origin in options.origins}
        self._exposed = options.exposed
        self._hosts = {*_HERE, options.host.lower()}
        self._hosts |= {urlsplit(origin).hostname or "" for origin in options.origins}
        if self._exposed:
            name = socket.gethostname().lower()
            self._hosts |= {name, f"{name}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wrong = self._wrong(Headers(scope=scope)) if scope["type"] in _SOCKETS else None
        await (refusal(scope, 403, wrong) if wrong else self._app)(scope, receive, send)

    def _wrong(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if len(headers.getlist("host")) > 1 or not (self._anywhere or self._known(host)):
            return "this server does not go by that name (--allow-origin adds one)"
        if origin is None or origin.lower() in self._origins:
            return None
        # The page came from here. Its scheme may be https, of a proxy before us.
        if _netloc(origin) == host and host:
            return None
        return "pages of that origin may not use this server (--allow-origin adds one)"

    def _known(self, host: str) -> bool:
        """Whether a Host is one of ours. An address is no name, so nobody can point it at us."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._exposed or address.is_loopback


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin.lower()).netloc
    except ValueError:
        return ""


class Keys:
    """Asks for a key, if there are any, on all paths but the open ones.

    open_paths: what tells of the server and does no work.
    """

    def __init__(self, app: ASGIApp, keys: tuple[str, ...], open_paths: frozenset[str]):
        self._app, self._open = app, open_paths
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in _SOCKETS and self._keys and scope["path"] not in self._open:
            given = presented(scope).encode()
            # All of them are compared, so that the time tells nothing.
            if not any([hmac.compare_digest(given, key) for key in self._keys]):
                message = "a key is needed" if scope["path"].startswith("/v1/") else ""
                await refusal(scope, 401, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def presented(scope: Scope) -> str:
    """The key that a client shows: Kyutai's header, or a bearer token; only where there is no such
    header, and for websockets, which a browser cannot give any, `auth_id` or `token` of the query.
    """
    headers = Headers(scope=scope)
    if (key := headers.get("kyutai-api-key")) is not None:
        return key
    if (bearer := headers.get("authorization")) is not None:
        kind, _, key = bearer.partition(" ")
        return key.strip() if kind.lower() == "bearer" else ""
    if scope["type"] == "websocket":
        query = parse_qs(scope["query_string"].decode("latin-1"))
        for name in ("auth_id", "token"):
            if name in query:
                return query[name][0]
    return ""


class Crowd:
    """Takes so many requests and websockets at the same time, and no more."""

    def __init__(self, app: ASGIApp, most: int):
        self._app, self._most, self._there = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in _SOCKETS:
            await self._app(scope, receive, send)
            return
        if self._there >= self._most:
            await refusal(scope, 503, "too many connections")(scope, receive, send)
            return
        self._there += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._there -= 1
