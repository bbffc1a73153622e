"""Speech to text by requests: a sound file in a form, words in several formats."""

from __future__ import annotations

import math
import zlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dsm_mlx import AudioError, BusyError, Transcript, Word
from dsm_mlx.captions import Cue, cues
from dsm_mlx.serve import bodies
from dsm_mlx.serve.hearing import parts_of
from dsm_mlx.serve.models import served
from dsm_mlx.serve.openai.events import sse
from dsm_mlx.serve.state import State, state_of
from dsm_mlx.stt.recordings import Progress

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
_GRANULARITIES = ("word", "segment")


@dataclass(frozen=True)
class Wishes:
    """What a client asks for beside the file; what does not apply here is not looked at."""

    format: str = "json"
    stream: bool = False
    temperature: float = 0.0
    granularities: frozenset[str] = frozenset(("segment",))

    @classmethod
    def of(cls, form: FormData) -> Wishes:
        """HTTPException 400 for a bad value."""
        format = form.get("response_format") or "json"
        if format not in FORMATS:
            raise HTTPException(400, f"response_format: expected one of {', '.join(FORMATS)}")
        given = form.getlist("timestamp_granularities[]") + form.getlist("timestamp_granularities")
        granularities = frozenset(map(str, given))
        if not granularities <= set(_GRANULARITIES):
            raise HTTPException(400, "timestamp_granularities: expected word or segment")
        try:
            temperature = float(str(form.get("temperature") or 0))
        except ValueError:
            temperature = math.nan
        if not 0 <= temperature <= 1:
            raise HTTPException(400, "temperature: expected a number from 0 to 1")
        stream = str(form.get("stream", "")).lower() in ("true", "1")
        return cls(str(format), stream, temperature, granularities or cls.granularities)


async def translate(request: Request) -> Response:
    """POST `/v1/audio/translations`."""
    raise HTTPException(400, "these models do not translate (use /v1/audio/transcriptions)")


async def transcribe(request: Request) -> Response:
    """POST `/v1/audio/transcriptions`."""
    state = state_of(request)
    limits = state.options.limits
    form = await bodies.form(request, limits.body, limits.wait)
    told = False  # as it is heard, which its file has to wait for
    try:
        wishes, file = Wishes.of(form), form.get("file")
        if not isinstance(file, UploadFile):
            raise HTTPException(400, "file: a sound file is needed")
        parts = parts_of(state, file.file, temperature=wishes.temperature)
        if wishes.stream:
            begun = await bodies.begun(request, parts)
            closes, told = (begun.aclose, form.close), True
            return bodies.Streamed(_told(begun), *closes, media_type="text/event-stream")
        transcript = await bodies.unless_gone(request, _whole(parts))
    except BusyError as error:
        raise HTTPException(503, str(error)) from None
    except AudioError as error:
        raise HTTPException(400, f"file: {error}") from None
    finally:
        if not told:
            await form.close()
    return _answer(transcript, wishes, state)


async def _whole(parts: AsyncGenerator[Progress, None]) -> Transcript:
    words: list[Word] = []
    seconds = 0.0
    async with aclosing(parts):
        async for part in parts:
            words += [event for event in part.events if isinstance(event, Word)]
            seconds += part.seconds
    return Transcript(" ".join(word.text for word in words), words, duration=seconds)


async def _told(parts: bodies.Begun[Progress]) -> AsyncGenerator[str, None]:
    """Words as events of a stream, and the whole text as the last one."""
    said: list[str] = []
    seconds = 0.0
    try:
        async for part in parts:
            seconds += part.seconds
            for event in part.events:
                if isinstance(event, Word):
                    delta = f" {event.text}" if said else event.text
                    said.append(event.text)
                    yield sse({"type": "transcript.text.delta", "delta": delta})
        done = {"type": "transcript.text.done", "text": " ".join(said)}
        yield sse({**done, "usage": _usage(seconds)})
    except (AudioError, BusyError) as error:
        yield sse({"error": {"message": str(error), "type": "server_error", "code": None}})


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": round(seconds, 3)}


def _answer(transcript: Transcript, wishes: Wishes, state: State) -> Response:
    if wishes.format == "text":
        return PlainTextResponse(transcript.to_txt())
    if wishes.format == "srt":
        return PlainTextResponse(transcript.to_srt())
    if wishes.format == "vtt":
        return PlainTextResponse(transcript.to_vtt(), media_type="text/vtt")
    if wishes.format == "json":
        usage = _usage(transcript.duration)
        return JSONResponse({"text": transcript.text, "usage": usage})
    return JSONResponse(verbose(transcript, wishes, served(state.models.stt).languages))


def verbose(transcript: Transcript, wishes: Wishes, languages: list[str]) -> dict[str, Any]:
    """`verbose_json`: segments are captions of one line."""
    found: dict[str, Any] = {
        "task": "transcribe",
        "duration": round(transcript.duration, 3),
        "language": languages[0] if len(languages) == 1 else "unknown",
        "text": transcript.text,
        "usage": _usage(transcript.duration),
    }
    if "segment" in wishes.granularities:
        found["segments"] = [
            _segment(i, cue, wishes.temperature) for i, cue in enumerate(cues(transcript.words))
        ]
    if "word" in wishes.granularities:
        found["words"] = [
            {"word": word.text, "start": word.start, "end": word.end} for word in transcript.words
        ]
    return found


def _segment(number: int, cue: Cue, temperature: float) -> dict[str, Any]:
    """All of OpenAI's fields are needed; what only Whisper knows has a value that says nothing."""
    text = " ".join(word.text for word in cue.words)
    raw = text.encode()
    sure = [math.log(max(word.confidence or 1.0, 1e-6)) for word in cue.words]
    return {
        "id": number,
        "seek": 0,
        "start": cue.start,
        "end": cue.end,
        "text": text,
        "tokens": [],
        "temperature": temperature,
        "avg_logprob": sum(sure) / len(sure),
        "compression_ratio": len(raw) / len(zlib.compress(raw)),
        "no_speech_prob": 0.0,
    }
