"""How loud the microphone is, in a line on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from dsm_mlx.audio import Microphone
from dsm_mlx.audio.meter import share

_SECONDS = 0.1  # between two looks
_WIDTH = 30  # signs


def metered(microphone: Microphone) -> Iterator[np.ndarray]:
    """The blocks of `microphone`, while its level is shown; at the end the line is gone."""
    shown = 0.0
    try:
        for block in microphone:
            if time.monotonic() - shown >= _SECONDS:
                shown = time.monotonic()
                _show(f"level {level_bar(microphone.level)}")
            yield block
    finally:
        _show("")


def level_bar(level: float) -> str:
    """A level in decibels as a bar, and in figures."""
    return f"|{'#' * round(_WIDTH * share(level)):{_WIDTH}}| {level:.0f} dB"


def _show(text: str) -> None:
    """In the place of the line that is there. That nobody can see it changes nothing."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
