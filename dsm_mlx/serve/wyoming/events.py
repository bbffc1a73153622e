"""Wyoming's events as they come: never more of one than is allowed."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from wyoming.event import Event

from dsm_mlx.serve.options import Limits

HEADER = 1 << 16  # bytes of a line; the package writes some hundred
STOP = Event("stop")
"""That one itself, whatever clients send: the server stops, and no more will come."""


class EventError(Exception):
    """Something that no client of Wyoming's protocol would send."""


async def read(reader: asyncio.StreamReader, limits: Limits) -> tuple[Event, int] | None:
    """The next event and how many bytes it had; None where there is none any more.

    Raises:
        EventError: what came is no event, breaks off, or is larger than `limits` say. The reader's
            own limit is that of the line.
    """
    try:
        line = await reader.readline()
        if not line:
            return None
        header = json.loads(line)
        data = dict(header.get("data") or {})
        size = _size(header, "data_length", limits.json)
        if size:
            data.update(json.loads(await reader.readexactly(size)))
        more = _size(header, "payload_length", limits.message)
        payload = await reader.readexactly(more) if more else None
        return Event(string(header, "type"), data, payload), len(line) + size + more
    except (AttributeError, TypeError, ValueError, RecursionError, asyncio.IncompleteReadError):
        raise EventError("no event") from None


def _size(header: dict[str, Any], key: str, most: int) -> int:
    size = header.get(key) or 0
    if not isinstance(size, int) or not 0 <= size <= most:
        raise EventError(f"{key} is no size")
    return size


def string(data: dict[str, Any], key: str) -> str:
    """A text; EventError for anything else."""
    value = data.get(key)
    if not isinstance(value, str):
        raise EventError(f"{key} is no string")
    return value


def voice(data: dict[str, Any]) -> str | None:
    """The name of the voice that is asked for, if there is one."""
    wanted = data.get("voice")
    name = wanted.get("name") if isinstance(wanted, dict) else None
    return name if isinstance(name, str) else None
