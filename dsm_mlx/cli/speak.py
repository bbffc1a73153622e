"""The tts command, as it is started. Arguments: `speak_args`; its work: `speech`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed, or not all was done), 2 (usage), 130
    (interrupted)."""
    return start("dsm_mlx.cli.speech", argv, "dsm_mlx.cli.speak_args")
