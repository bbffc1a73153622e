"""The server's side of a page's conversation, as a test plays it."""

import base64
import json

import numpy as np
from browsing import SECONDS

MODELS = [{"id": "tiny"}, {"id": "echo", "answers": True}, {"id": "qwen", "answers": True}]
ANSWER = "It is late today, because of the snow in the mountains."


class Script:
    """The server's side of a page's realtime sockets."""

    def __init__(self):
        self.sockets, self.got = [], []
        self.unsaid = {}  # by the ids of items: words that were not heard, with their ends
        self.takes = True  # whether a new socket is taken

    def prepare(self, page):
        page.route("**/v1/models", lambda route: route.fulfill(json={"data": MODELS}))
        page.route_web_socket("**/v1/realtime**", self.connected)
        self.page = page

    def connected(self, socket):
        self.sockets.append(socket)
        socket.on_message(lambda message: self.take(json.loads(message)))
        if self.takes:
            self.tell("session.created", session={})
        else:
            socket.close()

    def tell(self, kind, **fields):
        self.sockets[-1].send(json.dumps({"type": kind, **fields}))

    def begin(self, name):
        self.tell("response.created", response={"id": name})
        self.tell("response.output_item.added", response_id=name, item={"id": f"item-{name}"})

    def take(self, event):
        """Words that have been played were heard."""
        self.got.append(event)
        words = self.unsaid.get(event.get("item_id"), [])
        while event["type"] == "dsm_mlx.played" and words and words[0][0] <= event["audio_ms"]:
            name = event["item_id"].removeprefix("item-")
            self.tell("dsm_mlx.said", response_id=name, text=words.pop(0)[1])

    def say(self, name, text=ANSWER, seconds=0.08):
        """Each word with so much sound, a tone."""
        whose = {"response_id": name, "item_id": f"item-{name}"}
        words = [" " * (i > 0) + word for i, word in enumerate(text.split(" "))]
        ends = [(1000 * seconds * (i + 1), word) for i, word in enumerate(words)]
        self.unsaid[whose["item_id"]] = ends
        self.tell("response.output_audio_transcript.delta", delta=text, **whose)
        tone = 3000 * np.sin(np.arange(int(24_000 * seconds)) / 10)
        sound = base64.b64encode(tone.astype("<i2").tobytes()).decode()
        for _ in words:
            self.tell("response.output_audio.delta", delta=sound, **whose)

    def end(self, name, status="completed", **more):
        self.tell("response.done", response={"id": name, "status": status, **more})

    def of(self, kind):
        return [event for event in self.got if event["type"] == kind]

    def wait_for(self, kind, number=1):
        """The last of so many events of the page's."""
        for _ in range(SECONDS // 20):
            if len(found := self.of(kind)) >= number:
                return found[-1]
            self.page.wait_for_timeout(20)
        raise AssertionError(f"no {kind} came, but {[event['type'] for event in self.got]}")
