"""OpenAI's own client against a server: prints one JSON object of what it got.

    PYTHON openai_client.py BASE_URL SOUND.wav

It runs in an environment of its own, whose pins are not ours: see test_serve_openai_client.py.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import wave

from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAI


def transcriptions(client: OpenAI, path: str) -> dict:
    def hear(**options):
        with open(path, "rb") as file:
            return client.audio.transcriptions.create(file=file, model="whisper-1", **options)

    verbose = hear(
        response_format="verbose_json", timestamp_granularities=["word", "segment"], language="en"
    )
    events = list(hear(stream=True, response_format="json"))
    return {
        "json": hear().text,
        "text": hear(response_format="text"),
        "srt": hear(response_format="srt"),
        "vtt": hear(response_format="vtt"),
        "words": [[word.word, word.start] for word in verbose.words],
        "segments": [segment.text for segment in verbose.segments],
        "duration": verbose.duration,
        "deltas": [event.delta for event in events if event.type == "transcript.text.delta"],
        "done": [event.text for event in events if event.type == "transcript.text.done"],
    }


def speech(client: OpenAI) -> dict:
    found = {}
    for format in ("mp3", "opus", "aac", "flac", "wav", "pcm"):
        options = {
            "model": "tts-1",
            "voice": "alloy",
            "input": "one two",
            "response_format": format,
        }
        with client.audio.speech.with_streaming_response.create(**options) as response:
            data = b"".join(response.iter_bytes())
            found[format] = [response.headers["content-type"], base64.b64encode(data).decode()]
    return found


def refused(error: type, call) -> str:
    """What the server says when it refuses a call."""
    try:
        call()
    except error as refusal:
        return refusal.body["message"]
    return "not refused"


def errors(client: OpenAI) -> dict:
    def hear_text():
        client.audio.transcriptions.create(file=("a.wav", b"hello"), model="x")

    return {
        "model": refused(NotFoundError, lambda: client.models.retrieve("nobody")),
        "file": refused(BadRequestError, hear_text),
    }


async def realtime(url: str, path: str, turns: dict | None) -> dict:
    """All events until the first turn is complete."""
    with wave.open(path) as file:
        pcm, rate = file.readframes(file.getnframes()), file.getframerate()
    client, events = AsyncOpenAI(base_url=url, api_key="any"), []
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": rate},
                        "turn_detection": turns,
                        "transcription": {"model": "whisper-1"},
                    }
                },
            }
        )
        sound = pcm + bytes(2 * rate * (4 if turns else 0))
        for start in range(0, len(sound), 9600):
            piece = base64.b64encode(sound[start : start + 9600]).decode()
            await connection.input_audio_buffer.append(audio=piece)
        if not turns:
            await connection.input_audio_buffer.commit()
        async for event in connection:
            events.append(event)
            if event.type.endswith((".completed", "error")):
                break
    return {
        "types": [event.type for event in events],
        "deltas": [event.delta for event in events if event.type.endswith("delta")],
        "text": [event.transcript for event in events if event.type.endswith("completed")],
    }


def main(url: str, path: str) -> None:
    client = OpenAI(base_url=url, api_key="any", max_retries=0)
    found = {
        "models": [model.id for model in client.models.list()],
        "transcriptions": transcriptions(client, path),
        "speech": speech(client),
        "errors": errors(client),
        "manual": asyncio.run(realtime(url, path, None)),
        "server_vad": asyncio.run(realtime(url, path, {"type": "server_vad"})),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
