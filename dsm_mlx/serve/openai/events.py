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


async def send(websocket: WebSocket, kind: str, **fields: Any) -> None:
    """An event of a kind."""
    event = {"event_id": new_id("event"), "type": kind, **fields}
    await websocket.send_text(json.dumps(event))


async def send_error(
    websocket: WebSocket,
    message: str,
    param: str | None = None,
    event: Any = None,
    kind: str = "invalid_request_error",
) -> None:
    """param: what was wrong. event: that of the client, which may have an identity."""
    found = event.get("event_id") if isinstance(event, dict) else None
    cause = found if isinstance(found, str) else None
    error = {"type": kind, "message": message, "code": None, "param": param, "event_id": cause}
    await send(websocket, "error", error=error)


def sse(event: dict[str, Any]) -> str:
    """A server-sent event, as a body has it."""
    return f"data: {json.dumps(event)}\n\n"
