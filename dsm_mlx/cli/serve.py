"""The serve command, as it is started. Arguments: `serve_args`; its work: `serving`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 (stopped, or the check passed), 1 (failed), 2
    (usage), 130 (interrupted before it had stopped)."""
    return start("dsm_mlx.cli.serving", argv, "dsm_mlx.cli.serve_args")
