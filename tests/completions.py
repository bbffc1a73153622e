"""An OpenAI-compatible server on the loopback, that does what a test wants."""

import json
import select
import socket
import threading
from contextlib import contextmanager, suppress

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def event(text=None, **choice):
    """One piece of a stream."""
    delta = {} if text is None else {"content": text}
    return b"data: " + json.dumps({"choices": [{"delta": delta, **choice}]}).encode() + b"\n\n"


END = event(finish_reason="stop") + b"data: [DONE]\n\n"


def answer(body, status="200 OK", kind="application/json"):
    """A whole answer that is no stream."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


MODELS = answer({"data": [{"id": "text-embedding-small"}, {"id": "talker"}, {"id": "other"}]})


class Client:
    """A connection to it. request: its first line; headers: in small letters; body: of JSON."""

    def __init__(self, connection):
        self._file = connection.makefile("rb")
        self._connection = connection
        self.request = self._file.readline().decode().strip()
        lines = iter(lambda: self._file.readline().decode().strip(), "")
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        size = int(self.headers.get("content-length", 0))
        self.body = json.loads(self._file.read(size)) if size else None

    def send(self, *parts):
        for part in parts:
            self._connection.sendall(part)

    def wait_until_gone(self, seconds=10):
        """Whether the other side has closed within that."""
        if not select.select([self._connection], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            return self._connection.recv(1) == b""
        return True


@contextmanager
def serving(script):
    """Its address. script: called with each `Client`, in a thread; then the connection is closed.
    One that asks for the models gets `MODELS` where the script gives nothing for that."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work(connection):
            with connection, suppress(OSError):
                script(Client(connection))

        def accept():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=work, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def scripted(chat, models=MODELS):
    """A script that lists its models, and does `chat` with those who want a completion."""

    def script(client):
        if client.request.startswith("GET /v1/models"):
            client.send(models)
        elif client.request.startswith("POST /v1/chat/completions"):
            chat(client)
        else:
            client.send(answer({"error": {"message": f"no {client.request}"}}, "404 Not Found"))

    return script
