"""What an OpenAI-compatible server says, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from dsm_mlx.messages import cut

_DONE = "[DONE]"


class NonsenseError(ValueError):
    """It is none of what the protocol has."""


@dataclass(frozen=True)
class Piece:
    """A part of a completion: its text, and whether it is the last one. error: in its words."""

    text: str = ""
    last: bool = False
    error: str | None = None


def events(lines: Iterable[bytes]) -> Iterator[str]:
    """The data of server-sent events, one by one, of lines without their ends."""
    data: list[str] = []
    for line in lines:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            yield "\n".join(data)
            data = []
    if data:
        yield "\n".join(data)


def piece_of(data: str | bytes) -> Piece:
    """What one event, or a whole answer that is no stream, has.

    Raises:
        NonsenseError: it is no completion.
    """
    if data == _DONE:
        return Piece(last=True)
    found = _loaded(data)
    if found.get("error"):
        return Piece(error=_message(found) or "an error")
    choices = found.get("choices")
    if not isinstance(choices, list):
        raise NonsenseError
    if not choices:  # such as one that tells how many tokens there were
        return Piece()
    choice = choices[0]
    said = choice.get("delta") or choice.get("message") or {} if isinstance(choice, dict) else None
    text = said.get("content") if isinstance(said, dict) else 0
    if not isinstance(text, (str, type(None))):
        raise NonsenseError
    return Piece(text or "", last=choice.get("finish_reason") is not None)


def models_of(body: bytes) -> list[str]:
    """The names in an answer to /models; NonsenseError if it is none."""
    entries = _loaded(body).get("data")
    if not isinstance(entries, list):
        raise NonsenseError
    names = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return [name for name in names if isinstance(name, str)]


def message_of(body: bytes) -> str:
    """The message of an error, in one line; "" where it has none."""
    try:
        return _message(_loaded(body))
    except NonsenseError:
        text = body.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else cut(text, 120)


def _loaded(data: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        raise NonsenseError from None
    if not isinstance(found, dict):
        raise NonsenseError
    return found


def _message(found: dict[str, Any]) -> str:
    """FastAPI calls it "detail", others "message", and OpenAI puts it into "error"."""
    told: Any = found
    for key in ("error", "message", "detail"):
        if isinstance(told, dict) and told.get(key):
            told = told[key]
    return "" if told is found else cut(str(told).strip(), 200)
