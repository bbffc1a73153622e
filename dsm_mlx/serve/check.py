"""`--check`: a sentence is said through the server and heard back through it."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import socket
import time
from difflib import SequenceMatcher

import numpy as np

from dsm_mlx.audio import WavWriter
from dsm_mlx.messages import say
from dsm_mlx.serve.state import State

SENTENCE = "the bus was late because the road was full of snow"
ENOUGH = 0.7  # of the words, in their order
_SECONDS = 300.0


async def check(state: State, bound: socket.socket) -> int:
    """The exit status: 0 if it was understood.

    A server that only speaks must give sound, and one that only listens must take some.
    """
    return await asyncio.to_thread(_check, state, bound)


def _check(state: State, bound: socket.socket) -> int:
    models, sound = state.models, b""
    began = time.monotonic()
    if models.tts:
        sound = _post(state, bound, "/api/tts", json.dumps({"text": [SENTENCE]}).encode())
        _tell(f'said "{SENTENCE}" in {time.monotonic() - began:.1f} s')
    if not models.stt:
        return 0
    sound = sound or _silence()
    began = time.monotonic()
    messages = json.loads(_post(state, bound, "/api/asr-streaming", sound))
    heard = [message["text"] for message in messages if message["type"] == "Word"]
    _tell(f'heard "{" ".join(heard)}" in {time.monotonic() - began:.1f} s')
    if not models.tts:
        return 0
    said = SENTENCE.split()
    alike = SequenceMatcher(None, said, [word.strip(".,").lower() for word in heard]).ratio()
    _tell("passed" if alike >= ENOUGH else "failed: that is not what was said")
    return 0 if alike >= ENOUGH else 1


def _tell(line: str) -> None:
    say(f"check: {line}")


def _silence() -> bytes:
    file = io.BytesIO()
    WavWriter(file).write(np.zeros(24_000, np.float32))
    return file.getvalue()


def _post(state: State, bound: socket.socket, path: str, body: bytes) -> bytes:
    """The answer to a request at the server's own address."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(bound.family, socket.SOCK_STREAM)
    connection.sock.settimeout(_SECONDS)
    connection.sock.connect(bound.getsockname())
    try:
        keys = {"kyutai-api-key": state.options.keys[0]} if state.options.keys else {}
        connection.request("POST", path, body, keys)
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{path} answered {answer.status}: {data[:80].decode('utf-8', 'replace')}")
    return data
