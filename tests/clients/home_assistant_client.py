"""Home Assistant's own Wyoming integration, without the rest of it: prints what it got, as JSON.

    PYTHON home_assistant_client.py PORT SOUND.wav TEXT

It runs in an environment of its own, whose pins are not ours: see test_serve_home_assistant.py.
SOUND.wav: 16 kHz, mono, 16 bits, as Home Assistant records. TEXT is said twice, once while it is
being written, a word at a time.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import wave

from homeassistant.components.tts import TTSAudioRequest
from homeassistant.components.wyoming.data import WyomingService
from homeassistant.components.wyoming.stt import WyomingSttProvider
from homeassistant.components.wyoming.tts import WyomingTtsProvider

SECONDS = 60.0


class Entry:
    """Of a configuration, as far as it is asked for."""

    entry_id = "entry"

    def async_create_background_task(self, hass, target, name):
        self.task = asyncio.ensure_future(target)
        return self.task


class Metadata:
    language = "en"


async def main(port: int, path: str, text: str) -> dict:
    service = await WyomingService.create("127.0.0.1", port)
    hears = WyomingSttProvider(Entry(), service)
    says = WyomingTtsProvider(Entry(), service)
    says.hass = None

    async def sound():
        with wave.open(path) as file:
            while data := file.readframes(320):
                yield data

    async def written():
        for word in text.split():
            yield f"{word} "

    result = await hears.async_process_audio_stream(Metadata(), sound())
    kind, whole = await says.async_get_tts_audio(text, "en", {"voice": "slt"})
    request = TTSAudioRequest("en", {"voice": "slt"}, written())
    response = await says.async_stream_tts_audio(request)
    pieces = [piece async for piece in response.data_gen]
    await says.config_entry.task
    with wave.open(io.BytesIO(pieces[0])) as header:
        rate = header.getframerate()
    with wave.open(io.BytesIO(whole)) as file:
        frames = file.getnframes()
    return {
        "name": service.get_name(),
        "platforms": sorted(service.platforms),
        "languages": [hears.supported_languages, says.supported_languages],
        "voices": [voice.voice_id for voice in says.async_get_supported_voices("en")],
        "streams": says.async_supports_streaming_input(),
        "text": result.text,
        "whole": [kind, frames],
        "streamed": [rate, sum(map(len, pieces[1:])) // 2, len(pieces) - 1],
    }


if __name__ == "__main__":
    port, path, text = sys.argv[1:]
    print(json.dumps(asyncio.run(asyncio.wait_for(main(int(port), path, text), SECONDS))))
