"""A realtime client that nobody's library stands behind."""

import base64
import json

from serving import SECONDS

from dsm_mlx.audio import to_s16le


class Live:
    def __init__(self, server, query="intent=transcription", **options):
        self._connecting = server.connect(f"/v1/realtime?{query}", **options)

    def __enter__(self):
        self.socket = self._connecting.__enter__()
        self.first = self.receive()
        return self

    def __exit__(self, *error):
        self._connecting.__exit__(*error)

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def append(self, pcm, size=4800):
        self.append_bytes(to_s16le(pcm), 2 * size)

    def append_bytes(self, data, size):
        for start in range(0, len(data), size):
            piece = base64.b64encode(data[start : start + size]).decode()
            self.send("input_audio_buffer.append", audio=piece)

    def commit(self):
        self.send("input_audio_buffer.commit")

    def receive(self):
        return json.loads(self.socket.recv(timeout=SECONDS))

    def until(self, end):
        """All events up to the first whose type ends so."""
        found = [self.receive()]
        while not found[-1]["type"].endswith(end):
            found.append(self.receive())
        return found

    def update(self, **session):
        """A conversation's; the session as it is then."""
        self.send("session.update", session={"type": "realtime", **session})
        return self.until("updated")[-1]["session"]

    def write(self, text, role="user", **more):
        """A message in text."""
        kind = "output_text" if role == "assistant" else "input_text"
        content = [{"type": kind, "text": text}]
        item = {"type": "message", "role": role, "content": content, **more}
        self.send("conversation.item.create", item=item)

    def ask(self, **response):
        self.send("response.create", response=response)

    def answer(self):
        """All events of a response that comes."""
        return self.until("response.done")
