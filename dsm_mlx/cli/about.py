"""What `python -m dsm_mlx` starts: see `about_args`, and `telling` for its work."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (stdout is closed), 2 (usage), 130
    (interrupted)."""
    return start("dsm_mlx.cli.telling", argv, "dsm_mlx.cli.about_args")
