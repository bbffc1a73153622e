"""The chat command, as it is started. Arguments: `chat_args`; its work: `chatting`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 (Ctrl-C ended the talk), 1 (failed, or not all
    was done), 2 (usage), 130 (interrupted before the talk began)."""
    return start("dsm_mlx.cli.chatting", argv, "dsm_mlx.cli.chat_args")
