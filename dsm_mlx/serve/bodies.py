"""The body of a request: read as it comes, never more of it than is allowed, never for ever."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO, Generic, TypeVar

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from dsm_mlx.serve.sessions import first_of

Result = TypeVar("Result")

SLOWEST = 16_000  # bytes a second
_MOST_FIELDS = 64


async def pieces(request: Request, limit: int, wait: float) -> AsyncIterator[bytes]:
    """The pieces of a body of at most `limit` bytes, which begins within `wait` seconds and is not
    slower than `SLOWEST` from then on.

    HTTPException 413 and 408 otherwise; ClientDisconnect.
    """
    too_large = HTTPException(413, f"the body is too large (expected at most {limit} bytes)")
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told[:20]) > limit:
        raise too_large
    stream, size = request.stream(), 0
    clock = asyncio.get_running_loop().time
    begun = clock()
    while True:
        try:
            left = begun + wait + size / SLOWEST - clock()
            piece = await asyncio.wait_for(anext(stream), left)
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise HTTPException(408, "the body did not come") from None
        size += len(piece)
        if size > limit:
            raise too_large
        yield piece


async def kept(request: Request, limit: int, wait: float) -> BinaryIO:
    """A body in a temporary file without a name, which lies at its beginning. Close it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        async for piece in pieces(request, limit, wait):
            file.write(piece)
        file.seek(0)
        return file
    except BaseException:
        file.close()
        raise


async def json_object(request: Request, limit: int, wait: float) -> dict[str, Any]:
    """A body that is a JSON object; HTTPException 400 for anything else."""
    data = b"".join([piece async for piece in pieces(request, limit, wait)])
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body is no JSON object")
    return value


async def form(request: Request, limit: int, wait: float) -> FormData:
    """A body that is a form, whose files lie on the disk until it is closed.

    HTTPException 400 for what is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise HTTPException(400, "the body is no form (expected multipart/form-data)")
    body = pieces(request, limit, wait)

    async def receive() -> Message:
        piece = await anext(body, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    return await Request(request.scope, receive).form(max_files=1, max_fields=_MOST_FIELDS)


class Begun(Generic[Result]):
    """What an iterator gives, of which the first item has been taken already; its end is told of
    by None. Closing it closes the iterator, also before anybody has asked for more."""

    def __init__(self, first: Result | None, rest: AsyncGenerator[Result, None]):
        self._first, self._rest = first, rest

    def __aiter__(self) -> Begun[Result]:
        return self

    async def __anext__(self) -> Result:
        if self._first is None:
            return await anext(self._rest)
        item, self._first = self._first, None
        return item

    async def aclose(self) -> None:
        await self._rest.aclose()


async def begun(request: Request, items: AsyncGenerator[Result, None]) -> Begun[Result]:
    """The same items, when the first of them is there: what goes wrong, goes wrong before the
    answer to the request begins. ClientDisconnect if the client goes meanwhile."""
    try:
        return Begun(await unless_gone(request, anext(items, None)), items)
    except BaseException:
        await items.aclose()  # which may have given an item that nobody has taken
        raise


class Streamed(StreamingResponse):
    """An answer that comes in pieces. What it is made of is closed when it is over, in whatever
    moment the client goes: an iterator that nobody has begun, or that waits for the next piece to
    be sent, does not hear of that.

    closes: what to call after the pieces have been closed.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[Any, None],
        *closes: Callable[[], Awaitable[None]],
        media_type: str,
    ):
        super().__init__(pieces, media_type=media_type)
        self._closes = (pieces.aclose, *closes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            for close in self._closes:
                await close()


async def unless_gone(request: Request, work: Awaitable[Result]) -> Result:
    """What `work` gives; it is cancelled, with ClientDisconnect, when the client goes.

    The body must have been read.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        raise ClientDisconnect

    return await first_of(work, gone())
