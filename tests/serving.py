"""A server in a process of its own, with very small models, and what clients of Kyutai's do.

    python serving.py '{"stt": FOLDER, "tts": FOLDER, "max_streams": 4, "limits": {…}, …}'

starts one at a free port: for tests that need limits which the command does not offer, a machine
on which a stream takes long to open ("slow": seconds), one without PyAV ("pyav": false), or one on
which a language model answers ("llm_url": of its server).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SECONDS = 20.0
FRAME = 1920
LLM_KEY = "sk-of-nobody"


def main(settings: dict) -> int:
    import mlx.core as mx

    from dsm_mlx import load_stt, load_tts
    from dsm_mlx.chat import ServerReply
    from dsm_mlx.serve import opus
    from dsm_mlx.serve.answers import Answerer
    from dsm_mlx.serve.models import Models
    from dsm_mlx.serve.options import Limits, ServerOptions
    from dsm_mlx.serve.run import serve

    mx.set_default_device(mx.cpu)  # as the tests, which compare
    folders = settings.pop("stt", None), settings.pop("tts", None)
    most, limits = settings.pop("max_streams", 4), Limits(**settings.pop("limits", {}))
    for name in ("keys", "origins"):
        settings[name] = tuple(settings.get(name, ()))

    slow, url = settings.pop("slow", 0.0), settings.pop("llm_url", None)
    talker = Answerer("talker", lambda: ServerReply(url, "talker", key=LLM_KEY), "Be brief.")
    if not settings.pop("pyav", True):
        opus.has_pyav = lambda: False

    def load() -> Models:
        pairs = zip((load_stt, load_tts), folders, strict=True)
        found = [f and load(f, dtype="float32", max_streams=most) for load, f in pairs]
        for model in filter(None, found) if slow else ():
            model.stream = partial(slowly, slow, model.stream)
        return Models(*found, [talker] if url else [])

    return serve(ServerOptions(**{"port": 0, **settings}, limits=limits), load)


def slowly(seconds, open, **options):
    """Open a stream as a machine that has much to do does it."""
    time.sleep(seconds)
    return open(**options)


class Served:
    """The process, from its start until it is stopped. Its address is known when it accepts."""

    def __init__(self, *command: str, **settings: object):
        command = command or (__file__, json.dumps(settings))
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told: list[str] = []
        self.port, self.wyoming, self.key = 0, 0, ""
        for line in self.process.stderr:
            self.told.append(line)
            if found := re.search(r"listening +http://\S+:(\d+)/", line):
                self.port = int(found[1])
            if found := re.search(r"wyoming +tcp://\S+:(\d+)", line):
                self.wyoming = int(found[1])
            if found := re.search(r"key +(\S+) \(made", line):
                self.key = found[1]
            if "Ctrl-C stops" in line:
                break
        else:
            raise RuntimeError(f"the server did not start: {''.join(self.told)}")
        # what is written and not read would block it one day
        self._reader = threading.Thread(target=lambda: self.told.extend(self.process.stderr))
        self._reader.start()

    def url(self, path: str, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def connect(self, path: str, **options) -> ClientConnection:
        options = {"max_size": None, "open_timeout": SECONDS, "close_timeout": 2, **options}
        return connect(self.url(path, "ws"), **options)

    @property
    def used_slots(self) -> list[str]:
        """Of each model."""
        with urllib.request.urlopen(self.url("/api/modules_info"), timeout=SECONDS) as answer:
            return [module["used_slots"] for module in json.load(answer)]

    def free(self, seconds: float = 5.0) -> None:
        """Wait until all slots are free."""
        until = time.monotonic() + seconds
        while set(self.used_slots) != {"0"}:
            assert time.monotonic() < until, f"{self.used_slots} slots are in use"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self._reader.join()
            self.process.stdout.close()
            self.process.stderr.close()

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def memory(self) -> int:
        """Bytes that it has in memory."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def send(socket: ClientConnection, **message: object) -> None:
    socket.send(msgpack.packb(message, use_single_float=True))


def send_sound(socket: ClientConnection, pcm: np.ndarray, size: int = FRAME) -> None:
    for start in range(0, len(pcm), size):
        send(socket, type="Audio", pcm=pcm[start : start + size].tolist())


def receive(socket: ClientConnection) -> dict:
    return msgpack.unpackb(socket.recv(timeout=SECONDS))


def until(socket: ClientConnection, kind: str) -> list[dict]:
    """All messages up to the first of a kind."""
    messages = [receive(socket)]
    while messages[-1]["type"] != kind:
        messages.append(receive(socket))
    return messages


def rest(socket: ClientConnection) -> Iterator[bytes | str]:
    """All that comes until the server closes."""
    with suppress(ConnectionClosed):
        while True:
            yield socket.recv(timeout=SECONDS)


def words_of(messages: list[dict]) -> list[tuple[str, float]]:
    return [(m["text"], m["start_time"]) for m in messages if m["type"] == "Word"]


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
