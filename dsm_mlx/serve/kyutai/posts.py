"""Text to speech by requests, as moshi-server has them."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from dsm_mlx import BusyError, CheckpointError, Speech
from dsm_mlx.audio import WavWriter, to_s16le
from dsm_mlx.serve import bodies
from dsm_mlx.serve.kyutai.wishes import Wishes, cleaned
from dsm_mlx.serve.models import NO_SLOT, served
from dsm_mlx.serve.speech import chunks_of, wav_header
from dsm_mlx.serve.state import State, state_of

_TURNS = 1000


async def speak(request: Request) -> Response:
    """POST `/api/tts_streaming`: `{"text", "voice"}` -> a WAV file while it is made."""
    state = state_of(request)
    limits = state.options.limits
    wanted = await bodies.json_object(request, limits.json, limits.wait)
    text, voice = wanted.get("text"), wanted.get("voice")
    if not isinstance(text, str) or not isinstance(voice, str):
        raise HTTPException(422, "text and voice are needed, both strings")
    if len(text) > limits.text:
        raise HTTPException(413, f"the text is too long (at most {limits.text} characters)")
    try:
        chunks = await bodies.begun(
            request, chunks_of(state, cleaned(text), state.models.voice(voice))
        )
    except BusyError:
        raise HTTPException(500, NO_SLOT) from None

    async def wav() -> AsyncGenerator[bytes, None]:
        yield wav_header()
        async with aclosing(chunks):
            async for chunk in chunks:
                yield to_s16le(chunk.audio)

    return bodies.Streamed(wav(), chunks.aclose, media_type="audio/wav")


async def synthesize(request: Request) -> Response:
    """POST `/api/tts`: turns of text -> a WAV file, or with `return_timestamps` JSON with the file
    and the words."""
    state = state_of(request)
    limits = state.options.limits
    wanted = await bodies.json_object(request, limits.json, limits.wait)
    try:
        wishes = Wishes.of({"seed": 42, **wanted, "format": "Pcm"}, state.models)
    except ValueError as error:
        raise HTTPException(400, f"a bad value of {error}") from None
    text = _turns(wanted, wishes, state)
    try:
        async with state.models.job(limits.wait):
            work = served(state.models.tts).asynthesize(text, wishes.voice, **wishes.options)
            with state.sessions.running():
                speech = await bodies.unless_gone(request, work)
    except ValueError:
        raise HTTPException(400, "of tags, a text may hold <break time=…/> alone") from None
    except CheckpointError:
        raise HTTPException(500, "a voice could not be had") from None
    except BusyError:
        raise HTTPException(500, NO_SLOT) from None
    return _answer(speech, bool(wanted.get("return_timestamps")))


def _turns(wanted: dict[str, Any], wishes: Wishes, state: State) -> list[tuple[str | None, str]]:
    """Whose turn it is to say what; several voices take turns."""
    text, names = wanted.get("text"), wanted.get("voices")
    text = [text] if isinstance(text, str) else text
    if not isinstance(text, list) or not all(isinstance(turn, str) for turn in text) or not text:
        raise HTTPException(422, "text is needed, a list of strings")
    most = state.options.limits.whole_text
    if sum(map(len, text)) > most or len(text) > _TURNS:
        raise HTTPException(413, f"the text is too long (at most {most} characters)")
    voices = [wishes.voice]
    if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
        voices = [state.models.voice(name) for name in names[:2]]
    return [(voices[i % len(voices)], cleaned(turn)) for i, turn in enumerate(text)]


def _answer(speech: Speech, with_times: bool) -> Response:
    file = io.BytesIO()
    WavWriter(file, speech.sample_rate).write(speech.audio)
    if not with_times:
        return Response(file.getvalue(), media_type="audio/wav")
    words = [{"text": w.text, "start_s": w.start, "stop_s": w.end} for w in speech.words]
    return JSONResponse({"wav": base64.b64encode(file.getvalue()).decode(), "transcript": words})
