"""What there is: models and voices."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from dsm_mlx.serve.state import State, state_of

_STARTED = int(time.time())
_OTHERS = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-realtime-whisper")
_OTHER_VOICES = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")


def names(state: State) -> list[str]:
    """Of the models, without the folders in which they lie."""
    answerers = [answerer.name for answerer in state.models.answerers]
    return list(
        dict.fromkeys([*(Path(model.name).name for model in state.models.loaded), *answerers])
    )


def _entry(name: str, state: State) -> dict[str, Any]:
    """answers: whether it can be chosen to answer in a conversation, which is our own field."""
    answers = any(answerer.name == name for answerer in state.models.answerers)
    entry = {"id": name, "object": "model", "created": _STARTED, "owned_by": "dsm_mlx"}
    return entry | {"answers": answers}


async def models(request: Request) -> JSONResponse:
    """GET `/v1/models`."""
    state = state_of(request)
    entries = [_entry(name, state) for name in names(state)]
    return JSONResponse({"object": "list", "data": entries})


async def model(request: Request) -> JSONResponse:
    """GET `/v1/models/NAME`; OpenAI's own names stand for what is served."""
    name, state = request.path_params["name"], state_of(request)
    others = (_OTHERS if state.models.stt else ()) + (_OTHER_VOICES if state.models.tts else ())
    if name not in names(state) and name not in others:
        raise HTTPException(404, "there is no model of that name")
    return JSONResponse(_entry(name, state))


async def voices(request: Request) -> JSONResponse:
    """GET `/v1/audio/voices`."""
    found = state_of(request).models.voices
    return JSONResponse({"data": [{"id": name, "name": _short(name)} for name in found]})


def _short(name: str) -> str:
    """A voice's name for people."""
    return Path(name).name.removesuffix(".wav")
