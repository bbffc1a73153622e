"""OpenAI's own client in a conversation with a server: prints one JSON object of what it got.

    PYTHON openai_conversation.py BASE_URL SOUND.wav OTHER.wav

It runs in an environment of its own, as openai_client.py does. Every event must be one that the
client knows, to the letter of its types.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import wave

from openai import AsyncOpenAI
from openai.types.realtime import RealtimeServerEvent
from pydantic import ConfigDict, TypeAdapter

RATE = 24_000
PIECE = 9600  # bytes: 0.2 s
STRICT = TypeAdapter(RealtimeServerEvent, config=ConfigDict(strict=True))


def sound_of(path: str) -> bytes:
    with wave.open(path) as file:
        assert file.getframerate() == RATE
        return file.readframes(file.getnframes())


class Talk:
    """A connection. events: all that came, in their order."""

    def __init__(self, connection):
        self._connection, self.events = connection, []

    async def next(self):
        event = await self._connection.recv()
        known = STRICT.validate_python(event.to_dict())
        if type(known) is not type(event):
            raise TypeError(f"{event.type} is no {type(event).__name__}")
        self.events.append(event)
        return event

    async def until(self, *types: str) -> list:
        """All events up to the first of these types."""
        found = [await self.next()]
        while found[-1].type not in types:
            found.append(await self.next())
        return found

    async def say(self, sound: bytes) -> None:
        for start in range(0, len(sound), PIECE):
            piece = base64.b64encode(sound[start : start + PIECE]).decode()
            await self._connection.input_audio_buffer.append(audio=piece)

    async def listen(self, seconds: float) -> None:
        """Silence, in the time that it takes."""
        for _ in range(round(seconds / 0.2)):
            await self.say(bytes(PIECE))
            await asyncio.sleep(0.2)


def told(events: list) -> dict:
    """Of a turn and its answer."""
    done = [event.response for event in events if event.type == "response.done"]
    deltas = [e.delta for e in events if e.type == "response.output_audio.delta"]
    spoken = [e.delta for e in events if e.type == "response.output_audio_transcript.delta"]
    heard = "conversation.item.input_audio_transcription.completed"
    return {
        "heard": [event.transcript for event in events if event.type == heard],
        "said": "".join(spoken),
        "seconds": sum(len(base64.b64decode(delta)) for delta in deltas) / 2 / RATE,
        "status": [response.status for response in done],
        "reasons": [response.status_details.reason for response in done],
    }


async def turns(talk: Talk, connection, bus: bytes, cat: bytes) -> dict:
    """Somebody speaks, speaks into the answer, and listens to the next one."""
    pause = bytes(2 * RATE)
    await connection.session.update(
        session={
            "type": "realtime",
            "instructions": "Be brief.",
            "audio": {
                "input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 500}},
                "output": {"voice": "marin", "speed": 1.0},
            },
        }
    )
    found = {}
    await talk.say(bus + pause)
    found["first"] = told(await talk.until("response.done"))
    await talk.listen(found["first"]["seconds"])
    await talk.say(bus + pause)
    events = await talk.until("response.output_audio.delta")
    await talk.listen(1.0)
    await talk.say(cat)
    events += await talk.until("response.done")
    item = next(event.item_id for event in events if event.type == "response.output_audio.delta")
    await connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=500)
    events += await talk.until("conversation.item.truncated")
    found["second"] = told(events)
    await connection.conversation.item.retrieve(item_id=item)
    (retrieved,) = (await talk.until("conversation.item.retrieved"))[-1].item.content
    found["cut"] = retrieved.transcript
    await talk.say(pause)
    found["third"] = told(await talk.until("response.done"))
    return found


async def by_hand(talk: Talk, connection, bus: bytes) -> dict:
    """A turn that the client ends, text in and out, an answer that is cancelled."""
    found = {}
    silent = {"audio": {"input": {"turn_detection": None}}}
    await connection.session.update(session={"type": "realtime", **silent})
    await talk.until("session.updated")
    await talk.say(bus)
    await connection.input_audio_buffer.commit()
    await connection.response.create()
    found["committed"] = told(await talk.until("response.done"))
    content = [{"type": "input_text", "text": "good morning"}]
    message = {"type": "message", "role": "user", "content": content}
    await connection.conversation.item.create(item=message)
    created = (await talk.until("conversation.item.done"))[-1].item
    await connection.response.create(response={"output_modalities": ["text"]})
    events = await talk.until("response.done")
    found["text"] = [e.text for e in events if e.type == "response.output_text.done"]
    await connection.conversation.item.delete(item_id=created.id)
    await talk.until("conversation.item.deleted")
    await connection.response.create()
    await talk.until("response.output_audio.delta")
    await connection.response.cancel()
    found["cancelled"] = told(await talk.until("response.done"))
    await connection.output_audio_buffer.clear()
    await talk.until("output_audio_buffer.cleared")
    await connection.input_audio_buffer.clear()
    await talk.until("input_audio_buffer.cleared")
    await connection.response.create(response={"tools": [{"type": "function", "name": "f"}]})
    found["refused"] = (await talk.until("error"))[-1].error.message
    return found


async def converse(url: str, bus: bytes, cat: bytes) -> dict:
    client, found = AsyncOpenAI(base_url=url, api_key="any"), {}
    for name, part in {"turns": (turns, bus, cat), "by_hand": (by_hand, bus)}.items():
        async with client.realtime.connect(model="echo") as connection:
            talk = Talk(connection)
            found[name] = await part[0](talk, connection, *part[1:])
            found[f"{name}_types"] = [event.type for event in talk.events]
    return found


if __name__ == "__main__":
    address, *paths = sys.argv[1:]
    print(json.dumps(asyncio.run(converse(address, *map(sound_of, paths)))))
