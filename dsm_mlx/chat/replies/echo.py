"""A reply that needs no language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class EchoReply:
    """Says what was heard."""

    def __call__(self, messages: Sequence[dict[str, Any]]) -> str:
        """The text of the last message of the user's; "" where there is none."""
        said = (m["content"] for m in reversed(messages) if m["role"] == "user")
        return next(said, "")
