"""The captions command, as it is started. Arguments: `captions_args`; its work: `captioning`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 (the window was closed), 1 (failed), 2 (usage),
    130 (interrupted)."""
    return start("dsm_mlx.cli.captioning", argv, "dsm_mlx.cli.captions_args")
