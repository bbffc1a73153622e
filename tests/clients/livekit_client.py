"""LiveKit's plugin for Kyutai's servers, unchanged: prints the words that it got, as JSON.

    PYTHON livekit_client.py URL KEY SOUND.wav COUNT

It runs in an environment of its own, whose pins are not ours: see test_serve_livekit_client.py.
COUNT: of words, after which it leaves; the plugin does not ask for the end of anything.
"""

from __future__ import annotations

import asyncio
import json
import sys
import wave

import aiohttp
from lasuite.plugins import kyutai
from livekit import rtc
from livekit.agents.stt import SpeechEventType

SECONDS = 60.0
SILENCE = 4  # seconds, as a microphone sends when nobody speaks


async def main(url: str, key: str, path: str, count: int) -> list[dict]:
    with wave.open(path) as file:
        rate, data = file.getframerate(), file.readframes(file.getnframes())
    data += bytes(2 * rate * SILENCE)
    async with aiohttp.ClientSession() as session:
        stt = kyutai.STT(api_key=key, base_url=url, http_session=session)
        stream = stt.stream()
        step = 2 * rate // 50  # 20 ms, as WebRTC has them
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            stream.push_frame(rtc.AudioFrame(piece, rate, 1, len(piece) // 2))
        stream.flush()
        words: list[dict] = []

        async def take() -> None:
            async for event in stream:
                if event.type == SpeechEventType.FINAL_TRANSCRIPT:
                    found = event.alternatives[0]
                    words.append({"text": found.text, "start": found.start_time})
                    if len(words) == count:
                        return

        await asyncio.wait_for(take(), SECONDS)
        await stream.aclose()
        return words


if __name__ == "__main__":
    url, key, path, count = sys.argv[1:]
    print(json.dumps(asyncio.run(main(url, key, path, int(count)))))
