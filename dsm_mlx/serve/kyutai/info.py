"""What a server tells of itself, to anybody: health, versions, slots, counts."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

import dsm_mlx
from dsm_mlx.serve import metrics
from dsm_mlx.serve.models import Slots
from dsm_mlx.serve.state import State, state_of

STT_PATH, TTS_PATH = "/api/asr-streaming", "/api/tts_streaming"


async def health(request: Request) -> JSONResponse:
    """That the server is there, and for how many seconds."""
    uptime = time.monotonic() - state_of(request).started
    return JSONResponse({"status": "ok", "uptime_seconds": round(uptime, 3)})


async def build_info(request: Request) -> JSONResponse:
    """All strings; the first four are moshi-server's own names."""
    unknown = dict.fromkeys(("build_timestamp", "git_branch", "git_hash", "rustc_version"), "")
    versions = {"dsm_mlx": dsm_mlx.__version__, "mlx": _version("mlx")}
    return JSONResponse({**unknown, **versions, "python": platform.python_version()})


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


async def modules_info(request: Request) -> JSONResponse:
    """The models, and how many of their slots are in use."""
    models = state_of(request).models
    found = []
    if models.listeners:
        name = models.listeners.handle.name
        more = {"lm": name, "audio_tokenizer": name}
        found.append(_module("batched_asr", STT_PATH, models.listeners, more))
    if models.speakers:
        more = {"script": models.speakers.handle.name}
        found.append(_module("py", TTS_PATH, models.speakers, more))
    return JSONResponse(found)


def _module(kind: str, path: str, slots: Slots, more: dict[str, str]) -> dict[str, str]:
    used, total = str(slots.used), str(slots.total)
    return {"type": kind, "path": path, "used_slots": used, "total_slots": total, **more}


async def prometheus(request: Request) -> PlainTextResponse:
    """`/metrics`, with the names that moshi-server has: asr for listening, py for speaking."""
    state = state_of(request)
    lines: list[str] = []
    for name, slots, counted in _wings(state):
        stats = await asyncio.to_thread(slots.handle.stats)
        lines += _lines(name, slots, counted, stats)
    text = "".join(f"{line}\n" for line in lines)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


def _wings(state: State) -> Iterator[tuple[str, Slots, metrics.Wing]]:
    if state.models.listeners:
        yield "asr", state.models.listeners, state.metrics.stt
    if state.models.speakers:
        yield "py", state.models.speakers, state.metrics.tts


def _lines(name: str, slots: Slots, counted: metrics.Wing, stats: dict[str, Any]) -> list[str]:
    steps, mean = stats["steps"], stats["seconds_a_step"]
    return [
        *metrics.value(f"{name}_connect", "counter", "sockets taken", counted.connections),
        *metrics.value(f"{name}_refused", "counter", "sockets without a slot", counted.refused),
        *metrics.value(f"{name}_open_channels", "gauge", "slots in use", slots.used),
        *metrics.value(f"{name}_total_channels", "gauge", "slots there are", slots.total),
        *metrics.summary(f"{name}_model_step_duration", "seconds", steps, steps * mean),
        *metrics.value(f"{name}_frames_waiting", "gauge", "to compute", stats["frames_waiting"]),
        *metrics.histogram(f"{name}_connection_num_steps", "steps of a socket", counted.steps),
    ]


async def voice(request: Request) -> PlainTextResponse:
    """`/api/voice` makes a voice of a recording, in Kyutai's own servers."""
    return PlainTextResponse(
        "a voice cannot be made from a recording: the encoder that this needs is not released. "
        "Choose one of the model's voices, or send the embedding of one in a Voice message.",
        501,
    )
