"""Conversations: somebody speaks, a reply is written, and said while it is being written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsm_mlx.chat.events import (
    DeviceChanged,
    DeviceLost,
    Event,
    Failed,
    Heard,
    Interrupted,
    Latency,
    Partial,
    Said,
    Saying,
    TakenBack,
    Thinking,
    TurnEnded,
    Writing,
)

if TYPE_CHECKING:
    from dsm_mlx.chat.conversation import Conversation
    from dsm_mlx.chat.player import Sink
    from dsm_mlx.chat.replies.echo import EchoReply
    from dsm_mlx.chat.replies.local import LocalReply
    from dsm_mlx.chat.replies.server import ServerReply

__all__ = [
    "Conversation",
    "DeviceChanged",
    "DeviceLost",
    "EchoReply",
    "Event",
    "Failed",
    "Heard",
    "Interrupted",
    "Latency",
    "LocalReply",
    "Partial",
    "Said",
    "Saying",
    "ServerReply",
    "Sink",
    "TakenBack",
    "Thinking",
    "TurnEnded",
    "Writing",
]

# What needs MLX, or a package of its own, is imported when it is asked for.
_LATER = {
    "Conversation": "dsm_mlx.chat.conversation",
    "EchoReply": "dsm_mlx.chat.replies.echo",
    "LocalReply": "dsm_mlx.chat.replies.local",
    "ServerReply": "dsm_mlx.chat.replies.server",
    "Sink": "dsm_mlx.chat.player",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'dsm_mlx.chat' has no attribute {name!r}")
