"""How late words and sound are, of `tiny` on this machine, with another client beside."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgpack
import numpy as np
from benchmark.statistics import spread

from dsm_mlx.audio import read
from loading.clients import LISTENING, SPEAKING, open_socket, packed

_SOUNDS = sorted((Path(__file__).parents[2] / "demos/audio").glob("*.wav"))
_FRAME, _SECONDS = 1920, 0.08
_ROUNDS = 3
_TEXT = "Good morning, my friend."


async def measure(url: str) -> dict:
    """Milliseconds: from a word's last sample to its message, and from a text to its first sound,
    while another client listens."""
    pcm = np.concatenate([np.concatenate([read(path), np.zeros(48_000)]) for path in _SOUNDS])
    pcm = np.tile(pcm, _ROUNDS).astype(np.float32)
    other = asyncio.ensure_future(_words(url, pcm))
    words = await _words(url, pcm)
    await other
    beside = asyncio.ensure_future(_words(url, pcm))
    sounds = [await _first_sound(url) for _ in range(10)]
    beside.cancel()
    return {
        "words": len(words),
        "last sample of a word to its message, ms": spread(words),
        "text to first sound, ms": spread(sounds),
    }


async def _words(url: str, pcm: np.ndarray) -> list[float]:
    """Seconds that each word was late, of sound that comes as it would from a microphone."""
    late: list[float] = []
    async with open_socket(url, LISTENING) as socket:
        await socket.recv()
        begun = time.monotonic()

        async def send() -> None:
            for i in range(len(pcm) // _FRAME):
                # A frame can be sent when its last sample has been recorded.
                await asyncio.sleep(begun + (i + 1) * _SECONDS - time.monotonic())
                frame = pcm[i * _FRAME : (i + 1) * _FRAME]
                await socket.send(packed(type="Audio", pcm=frame.tolist()))
            await socket.send(packed(type="Marker", id=1))

        sending = asyncio.ensure_future(send())
        while (message := msgpack.unpackb(await socket.recv()))["type"] != "Marker":
            if message["type"] == "EndWord":
                late.append(time.monotonic() - begun - message["stop_time"])
        await sending
    return late


async def _first_sound(url: str) -> float:
    async with open_socket(url, SPEAKING) as socket:
        await socket.recv()
        begun = time.monotonic()
        await socket.send(packed(type="Text", text=_TEXT))
        await socket.send(packed(type="Eos"))
        while msgpack.unpackb(await socket.recv())["type"] != "Audio":
            pass
        return time.monotonic() - begun
