"""Events in JSON: of a realtime client, each with an identity of its own, and of an answer that
comes in pieces."""

from __future__ import annotations

import json
import secrets
from typing import Any

from starlette.websockets import WebSocket


def new_id(kind: str) -> str:
    """An identity as OpenAI's look: "item_…"."""
    return f"{kind}_{secrets.token_hex(10)}"


def event_of(kind: str, **fields: Any) -> dict[str, Any]:
    """An event of a kind."""
    return {"event_id": new_id("event"), "type": kind, **fields}


def error_of(
    message: str,
    param: str | None = None,
    event: Any = None,
    kind: str = "invalid_request_error",
    code: str | None = None,
) -> dict[str, Any]:
    """param: what was wrong. event: that of the client, which may have an identity. code: a word
    for programs."""
    found = event.get("event_id") if isinstance(event, dict) else None
    cause = found if isinstance(found, str) else None
    error = {"type": kind, "message": message, "code": code, "param": param, "event_id": cause}
    return event_of("error", error=error)


async def send(websocket: WebSocket, event: dict[str, Any]) -> None:
    """An event, as a message of its own."""
    await websocket.send_text(json.dumps(event))


def sse(event: dict[str, Any]) -> str:
    """A server-sent event, as a body has it."""
    return f"data: {json.dumps(event)}\n\n"
