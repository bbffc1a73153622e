"""Which path is whose. Paths are in use in both spellings: with a hyphen, with an underscore."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from dsm_mlx.serve.kyutai import info, posts, stt, tts
from dsm_mlx.serve.models import Models

_LISTENING = ("/api/asr-streaming", "/api/asr_streaming")
_SPEAKING = ("/api/tts_streaming", "/api/tts-streaming")
_TELLING = {
    "/api/health": info.health,
    "/api/status": info.health,
    "/health": info.health,
    f"{info.STT_PATH}/health": info.health,
    "/api/build_info": info.build_info,
    "/api/modules_info": info.modules_info,
    "/metrics": info.prometheus,
}

OPEN = frozenset(_TELLING)
"""Paths that need no key."""


def routes(models: Models) -> list[BaseRoute]:
    """Those for which there is a model, and those that tell of the server."""
    found: list[BaseRoute] = [Route(path, tell) for path, tell in _TELLING.items()]
    if models.stt is not None:
        for path in _LISTENING:
            found.append(WebSocketRoute(path, stt.socket))
            found.append(Route(path, stt.transcribe, methods=["POST"]))
    if models.tts is not None:
        for path in _SPEAKING:
            found.append(WebSocketRoute(path, tts.socket))
            found.append(Route(path, posts.speak, methods=["POST"]))
        found.append(Route("/api/tts", posts.synthesize, methods=["POST"]))
        found.append(Route("/api/voice", info.voice, methods=["POST"]))
    return found
