"""Text to speech by requests: sound in several formats, while it is made."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dsm_mlx import BusyError, Chunk
from dsm_mlx.checks import is_number
from dsm_mlx.serve import bodies
from dsm_mlx.serve.openai.encoders import ENCODERS, Encoder, EncodingError
from dsm_mlx.serve.openai.events import sse
from dsm_mlx.serve.speech import chunks_of
from dsm_mlx.serve.state import state_of
from dsm_mlx.tts.pace import FASTEST, SLOWEST


async def speak(request: Request) -> Response:
    """POST `/v1/audio/speech`."""
    state = state_of(request)
    limits = state.options.limits
    wanted = await bodies.json_object(request, limits.json, limits.wait)
    text = wanted.get("input")
    if not isinstance(text, str) or not text.strip():
        raise HTTPException(400, "input: a text is needed")
    if len(text) > limits.text:
        raise HTTPException(413, f"input: too long (at most {limits.text} characters)")
    encoder, sse = _encoder(wanted), _is_sse(wanted)
    pace = _pace(wanted.get("speed"))
    voice = state.models.voice(_voice(wanted.get("voice")))
    try:
        chunks = await bodies.begun(request, chunks_of(state, text, voice, pace=pace))
    except BusyError as error:
        raise HTTPException(503, str(error)) from None
    if sse:
        events = _events(chunks, encoder)
        return bodies.Streamed(events, chunks.aclose, media_type="text/event-stream")
    sound = _sound(chunks, encoder)
    return bodies.Streamed(sound, chunks.aclose, media_type=encoder.media_type)


def _encoder(wanted: dict[str, Any]) -> Encoder:
    name = wanted.get("response_format") or "mp3"
    if not isinstance(name, str) or name not in ENCODERS:
        raise HTTPException(400, f"response_format: expected one of {', '.join(ENCODERS)}")
    try:
        return ENCODERS[name]()
    except EncodingError as error:
        raise HTTPException(400, f"response_format: {error}") from None


def _is_sse(wanted: dict[str, Any]) -> bool:
    how = wanted.get("stream_format") or "audio"
    if how not in ("audio", "sse"):
        raise HTTPException(400, "stream_format: expected audio or sse")
    return how == "sse"


def _pace(speed: Any) -> float:
    """The pace that a `speed` is: another one, beyond what a model can, would be a promise that is
    not kept."""
    if speed is None:
        return 1.0
    if not is_number(speed, (int, float)) or not SLOWEST <= speed <= FASTEST:
        raise HTTPException(400, f"speed: expected {SLOWEST:g} to {FASTEST:g}")
    return float(speed)


def _voice(voice: Any) -> str | None:
    """A name, or an object with an id; OpenAI's own names stand for the default voice."""
    found = voice.get("id") if isinstance(voice, dict) else voice
    if found is not None and not isinstance(found, str):
        raise HTTPException(400, "voice: expected a name")
    return found


async def _sound(chunks: bodies.Begun[Chunk], encoder: Encoder) -> AsyncGenerator[bytes, None]:
    yield encoder.begin()
    async with aclosing(chunks):
        async for chunk in chunks:
            yield encoder.push(chunk.audio)
    yield encoder.end()


async def _events(chunks: bodies.Begun[Chunk], encoder: Encoder) -> AsyncGenerator[str, None]:
    async with aclosing(_sound(chunks, encoder)) as pieces:
        async for piece in pieces:
            if piece:
                audio = base64.b64encode(piece).decode()
                yield sse({"type": "speech.audio.delta", "audio": audio})
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    yield sse({"type": "speech.audio.done", "usage": usage})
