"""Whatever writes replies, as pieces of text in an event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

from dsm_mlx.chat.aside import Aside
from dsm_mlx.messages import shown

Reply = Callable[[list[dict[str, str]]], Any]
"""Called with the messages; returns str, an iterator of str, an async iterator of str, or an
awaitable of one of these."""

_LATE_SECONDS = 2.0  # that a reply has to come to its end when it is closed
_END: Any = object()


class Asking:
    """Asks for replies, one after another, on a thread of their own where they block.

    A reply that is broken off is closed before the next one is asked for, so that two never share
    what they keep. One that does not come to its end is left behind, on its thread, after 2 s.
    """

    def __init__(self, reply: Reply):
        self._reply = reply
        self._aside = Aside("reply")

    async def pieces(self, messages: list[dict[str, str]]) -> AsyncGenerator[str, None]:
        """The pieces of a reply, as they come. Closing this, or cancelling who waits in it, closes
        the reply.

        Raises:
            TypeError: it is neither text nor pieces of it.
            Exception: whatever the reply raises.
        """
        if not await self._aside.free(_LATE_SECONDS):
            self._aside.close()
            self._aside = Aside("reply")
        found = await self._asked(messages)
        if isinstance(found, str):
            yield found
        elif hasattr(found, "__aiter__"):
            iterator = found.__aiter__()
            try:
                async for piece in iterator:
                    yield _checked(piece)
            finally:
                await _aclose(iterator)
        elif hasattr(found, "__iter__"):
            iterator, aside = iter(found), self._aside
            try:
                while (piece := await aside.run(next, iterator, _END)) is not _END:
                    yield _checked(piece)
            finally:
                aside.post(lambda: _close(iterator))
        else:
            raise TypeError(f"the reply is {shown(found)} (expected str, or pieces of it)")

    async def _asked(self, messages: list[dict[str, str]]) -> Any:
        """What the reply returned, on its thread, and what comes of awaiting that."""
        answers: list[Any] = []
        given_up = False

        def ask() -> Any:
            answers.append(self._reply(messages))
            if given_up:
                _close(answers[0])
            return answers[0]

        try:
            found = await self._aside.run(ask)
        except asyncio.CancelledError:
            given_up = True
            if answers:  # which came in the same moment
                _close(answers[0])
            raise
        return await _awaited(found) if inspect.isawaitable(found) else found

    def close(self) -> None:
        self._aside.close()


async def _awaited(found: Awaitable[Any]) -> Any:
    return await found


def _checked(piece: Any) -> str:
    if not isinstance(piece, str):
        raise TypeError(f"a piece of the reply is {shown(piece)} (expected str)")
    return piece


def _close(found: Iterator[Any] | Awaitable[Any]) -> None:
    close = getattr(found, "close", None)
    if close:
        close()


async def _aclose(iterator: Any) -> None:
    close = getattr(iterator, "aclose", None)
    if close:
        with suppress(Exception):
            await close()
