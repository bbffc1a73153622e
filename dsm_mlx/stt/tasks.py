"""What stands between pieces of sound in a session's queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """What happens when all before it has been heard: "finish", "restart", "renew" or "mark"."""

    kind: str
    value: Any = None
