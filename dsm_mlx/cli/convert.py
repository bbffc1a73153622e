"""The convert command, as it is started; what it does is in `conversion`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    return start("dsm_mlx.cli.conversion", argv)
