"""The stt command, as it is started. Arguments: `transcribe_args`; its work: `transcription`."""

from __future__ import annotations

from dsm_mlx.cli.common import start


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed, or not all was done), 2 (usage), 130
    (interrupted)."""
    return start("dsm_mlx.cli.transcription", argv, "dsm_mlx.cli.transcribe_args")
