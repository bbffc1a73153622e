"""The agent of demos/livekit_agent.py without a room: prints the talk it had, as JSON.

    DSM_SERVER=URL DSM_API_KEY=KEY PYTHON livekit_agent_client.py SOUND.wav

It runs in an environment of its own, whose pins are not ours: see test_serve_livekit_client.py. The
person is a sound file, the language model says what it was told, and the loudspeaker plays at once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "demos"))

from livekit import rtc
from livekit.agents import Agent
from livekit.agents.utils import http_context
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai
from livekit_agent import new_session

SECONDS = 120.0
PIECE = 0.05  # seconds


class Person(AudioInput):
    """A sound file, and then silence, as fast as a microphone."""

    def __init__(self, path: str):
        super().__init__(label="person")
        with wave.open(path) as file:
            self._rate, self._data = file.getframerate(), file.readframes(file.getnframes())

    async def __anext__(self) -> rtc.AudioFrame:
        await asyncio.sleep(PIECE)
        size = 2 * round(PIECE * self._rate)
        piece, self._data = self._data[:size].ljust(size, b"\0"), self._data[size:]
        return rtc.AudioFrame(piece, self._rate, 1, size // 2)


class Loudspeaker(AudioOutput):
    """All is heard at once."""

    def __init__(self) -> None:
        super().__init__(label="speaker", capabilities=AudioOutputCapabilities(pause=False))
        self.rate, self._seconds, self.heard = 0, 0.0, []

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self.rate = frame.sample_rate
        self._seconds += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._seconds:
            self.heard.append(self._seconds)
            self.on_playback_finished(playback_position=self._seconds, interrupted=False)
            self._seconds = 0.0

    def clear_buffer(self) -> None:
        self.flush()


class Echo(Agent):
    """In the place of a language model."""

    async def llm_node(self, chat_ctx, tools, model_settings):
        yield f"You said: {chat_ctx.items[-1].text_content}."


async def main(path: str) -> dict:
    never_asked = openai.LLM(base_url="http://127.0.0.1:1", api_key="any")
    session, speaker, answered = new_session(llm=never_asked), Loudspeaker(), asyncio.Event()
    states: list[str] = []

    @session.on("user_state_changed")
    def on_user(event) -> None:
        states.append(event.new_state)

    @session.on("conversation_item_added")
    def on_item(event) -> None:
        if getattr(event.item, "role", None) == "assistant":
            answered.set()

    session.input.audio, session.output.audio = Person(path), speaker
    await session.start(Echo(instructions=""))
    await asyncio.wait_for(answered.wait(), SECONDS)
    talk = [[item.role, item.text_content] for item in session.history.messages()]
    await session.aclose()
    return {"talk": talk, "states": states, "heard": speaker.heard, "rate": speaker.rate}


async def in_a_job(path: str) -> dict:
    async with http_context.open():  # as of a job: the plugins' connections
        return await main(path)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(in_a_job(sys.argv[1]))))
