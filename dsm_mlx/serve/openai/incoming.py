"""What a realtime client sends: events of JSON, and its sound among them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from starlette.websockets import WebSocket

from dsm_mlx import AudioError, BusyError
from dsm_mlx.audio.raw import Decoder
from dsm_mlx.messages import shown
from dsm_mlx.serve.openai.events import error_of
from dsm_mlx.serve.openai.fields import WishError, encoding
from dsm_mlx.serve.sessions import Idle, close, first_of, receive

RATE = 24_000
AHEAD = 30 * RATE  # samples that are read and not yet heard: then the client has to wait
PIECE = RATE // 5  # samples that are handed on at a time


async def take_all(
    websocket: WebSocket,
    idle: Idle,
    room: Callable[[], Awaitable[None]],
    take: Callable[[dict[str, Any]], Awaitable[None]],
    refuse: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Take one event after another, until the client goes (WebSocketDisconnect).

    room: waits until more may come. take: may raise a WishError or an AudioError. refuse: is given
    an error to send, after which it goes on.
    """
    while True:
        await room()
        data = await receive(websocket)
        idle.came()
        event = _parsed(data)
        try:
            if not (isinstance(event, dict) and isinstance(event.get("type"), str)):
                raise WishError("the message is no JSON object with a type", "type")
            await take(event)
        except WishError as error:
            await refuse(error_of(str(error), error.param, event, code=error.code))
        except AudioError as error:
            await refuse(error_of(str(error), "audio", event))


def _parsed(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def unknown(kind: str, session: str) -> WishError:
    """session: of what sort it is."""
    return WishError(f"type is {shown(kind)} (expected one of a {session})", "type")


class Sound:
    """A client's sound, piece by piece, in a format that may change."""

    def __init__(self, format: dict[str, Any]):
        self._format = format
        self._decoder: Decoder | None = None

    def use(self, format: dict[str, Any]) -> None:
        """From now on. What is not complete of another format is left out."""
        if format != self._format:
            self._format, self._decoder = format, None

    def decoded(self, audio: Any) -> np.ndarray:
        """float32 (samples,) at 24 kHz: what is complete by now. audio: base64."""
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise WishError("audio is no base64", "audio") from None
        if self._decoder is None:
            self._decoder = Decoder(*encoding(self._format), 1)
        return self._decoder(data)

    def rest(self) -> np.ndarray:
        """What is still inside."""
        return np.zeros(0, np.float32) if self._decoder is None else self._decoder.rest()

    def clear(self) -> None:
        """Forget what is still inside."""
        self._decoder = None


async def until_over(
    websocket: WebSocket, over: Callable[[str, int], Awaitable[None]], *works: Awaitable[Any]
) -> None:
    """Run a session's works together until one of them ends, and close the socket. over: tells the
    client why it ends otherwise, and closes the socket with a code."""
    try:
        await first_of(*works)
        await close(websocket, 1000)
    except BusyError as error:
        await over(str(error), 1013)
    except AudioError as error:
        await over(str(error), 1007)
    except asyncio.TimeoutError:
        await over("no message came for too long", 1000)
