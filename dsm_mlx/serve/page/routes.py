"""The files of the pages, each by its name, and what a browser may do with them."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

_FOLDER = Path(__file__).parent / "static"
_PAGES = {"/": "index.html", "/chat": "chat.html"}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FILES = {f"/page/{path.name}": path for path in _FOLDER.iterdir() if path.suffix in _TYPES}
_HOST = re.compile(r"[a-z0-9._-]+(:[0-9]+)?|\[[0-9a-f:.]+\](:[0-9]+)?", re.IGNORECASE)

OPEN = frozenset((*_PAGES, *_FILES))
"""Paths that need no key: who opens a page is asked for it there."""


def routes() -> list[BaseRoute]:
    """The pages and all that they are made of; there is nothing else to be had."""
    pages = [Route(path, page) for path in _PAGES]
    return [*pages, *(Route(path, file) for path in _FILES)]


async def page(request: Request) -> Response:
    """One of the pages."""
    host = request.headers.get("host", "")
    return FileResponse(
        _FOLDER / _PAGES[request.url.path],
        media_type="text/html; charset=utf-8",
        headers=_HEADERS | {"Content-Security-Policy": _policy(host)},
    )


async def file(request: Request) -> Response:
    """A file that a page is made of."""
    path = _FILES[request.url.path]
    return FileResponse(path, media_type=_TYPES[path.suffix], headers=_HEADERS)


_HEADERS = {
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), screen-wake-lock=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def _policy(host: str) -> str:
    """Nothing from elsewhere, and no frame around it. Not every browser takes a websocket of the
    page's own host for `'self'`. A Host that is none, as a unix socket may have, adds nothing."""
    sockets = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'{sockets}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
