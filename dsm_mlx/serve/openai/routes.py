"""Which path is whose."""

from __future__ import annotations

from starlette.routing import BaseRoute, Route, WebSocketRoute

from dsm_mlx.serve.models import Models
from dsm_mlx.serve.openai import info, realtime, speech, transcriptions

OPEN: frozenset[str] = frozenset()
"""Paths that need no key: none."""


def routes(models: Models) -> list[BaseRoute]:
    """Those for which there is a model, and the lists of what there is."""
    found: list[BaseRoute] = [
        Route("/v1/models", info.models),
        Route("/v1/models/{name:path}", info.model),
        Route("/v1/audio/voices", info.voices),
    ]
    if models.stt is not None:
        path = "/v1/audio/transcriptions"
        found.append(Route(path, transcriptions.transcribe, methods=["POST"]))
        path = "/v1/audio/translations"
        found.append(Route(path, transcriptions.translate, methods=["POST"]))
        found.append(WebSocketRoute("/v1/realtime", realtime.socket))
    if models.tts is not None:
        found.append(Route("/v1/audio/speech", speech.speak, methods=["POST"]))
    return found
