"""Clients that do what they should, and others that do not."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import msgpack
import numpy as np
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from loading.expected import TEXTS, Truth, summed

_PATIENCE = 60.0  # seconds for an answer
_MOST_FAULTS = 20
LISTENING, SPEAKING = "/api/asr-streaming", "/api/tts_streaming?format=PcmMessagePack&seed=1"
_WAYS = ("whole", "whole", "whole", "broken off", "stalled", "nonsense", "silent")


@dataclass
class Count:
    """What was done, and what was wrong."""

    done: Counter[str] = field(default_factory=Counter)
    words: int = 0
    frames: int = 0
    faults: list[str] = field(default_factory=list)

    def wrong(self, fault: str) -> None:
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(fault)


def packed(**fields: object) -> bytes:
    return msgpack.packb(fields, use_single_float=True)


def open_socket(url: str, path: str) -> connect:
    return connect(url + path, max_size=None, open_timeout=_PATIENCE, close_timeout=2)


async def listen(url: str, truth: Truth, rng: random.Random, until: float, count: Count) -> None:
    """One client after another, until the time is up."""
    while time.monotonic() < until:
        way = rng.choice(_WAYS)
        pcm, words = rng.choice(truth.sounds)
        try:
            async with open_socket(url, LISTENING) as socket:
                if not await _ready(socket):
                    way = "no slot"
                elif way == "whole":
                    found = await asyncio.wait_for(_heard(socket, pcm, rng), _PATIENCE)
                    if found != words:
                        count.wrong(f"heard {found}, expected {words}")
                    count.words += len(words)
                else:
                    await _misbehave(socket, way, packed(type="Audio", pcm=pcm.tolist()), rng)
        except ConnectionClosed as error:
            if way == "whole":
                count.wrong(f"a listener was closed: {error}")
        except Exception as error:
            count.wrong(f"a listener ({way}): {type(error).__name__}: {error}")
        count.done[f"listener, {way}"] += 1


async def _ready(socket: ClientConnection) -> bool:
    """Whether there is a slot: one of who has just left may not be free yet."""
    message = msgpack.unpackb(await asyncio.wait_for(socket.recv(), _PATIENCE))
    if message["type"] == "Error" and message["message"] != "no free channels":
        raise RuntimeError(message["message"])
    return message["type"] == "Ready"


async def _heard(
    socket: ClientConnection, pcm: np.ndarray, rng: random.Random
) -> list[tuple[str, float]]:
    """Send it all, in pieces of any size, and read until the mark comes back."""
    words: list[tuple[str, float]] = []
    start = 0
    while start < len(pcm):
        size = rng.choice((480, 1920, 5000, 24_000))
        await socket.send(packed(type="Audio", pcm=pcm[start : start + size].tolist()))
        start += size
    await socket.send(packed(type="Marker", id=7))
    while True:
        message = msgpack.unpackb(await socket.recv())
        if message["type"] == "Word":
            words.append((message["text"], message["start_time"]))
        elif message["type"] == "Error":
            raise RuntimeError(message["message"])
        elif message["type"] == "Marker":
            return words


async def speak(url: str, truth: Truth, rng: random.Random, until: float, count: Count) -> None:
    """One client after another, until the time is up."""
    while time.monotonic() < until:
        way, text = rng.choice(_WAYS), rng.choice(TEXTS)
        try:
            async with open_socket(url, SPEAKING) as socket:
                if not await _ready(socket):
                    way = "no slot"
                elif way == "whole":
                    found = await asyncio.wait_for(_said(socket, text), _PATIENCE)
                    if found != truth.said[text]:
                        count.wrong(f"said {found}, expected {truth.said[text]}")
                    count.frames += found[0]
                else:
                    await _misbehave(socket, way, packed(type="Text", text=text), rng)
        except ConnectionClosed as error:
            if way == "whole":
                count.wrong(f"a speaker was closed: {error}")
        except Exception as error:
            count.wrong(f"a speaker ({way}): {type(error).__name__}: {error}")
        count.done[f"speaker, {way}"] += 1


async def _said(socket: ClientConnection, text: str) -> tuple[int, float]:
    for word in text.split():
        await socket.send(packed(type="Text", text=word))
    await socket.send(packed(type="Eos"))
    frames = []
    with suppress(ConnectionClosed):
        while True:
            message = msgpack.unpackb(await socket.recv())
            if message["type"] == "Audio":
                frames.append(np.array(message["pcm"], np.float32))
            elif message["type"] == "Error":
                raise RuntimeError(message["message"])
    return summed(frames)


async def _misbehave(
    socket: ClientConnection, way: str, message: bytes, rng: random.Random
) -> None:
    """Break off in the middle, read nothing for a while, send nonsense, or nothing at all."""
    if way == "silent":
        await asyncio.sleep(rng.random())
    elif way == "nonsense":
        for _ in range(rng.randrange(1, 4)):
            await socket.send(rng.randbytes(rng.randrange(1, 200)))
        await socket.wait_closed()
    else:
        for _ in range(rng.randrange(1, 4)):
            await socket.send(message)
        await asyncio.sleep(rng.random() * (2 if way == "stalled" else 0.1))
        if way == "broken off":
            socket.transport.abort()
