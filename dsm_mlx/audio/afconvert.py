"""What macOS decodes without anything to install."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from dsm_mlx.audio.formats import Format
from dsm_mlx.audio.part import WHOLE, Part
from dsm_mlx.audio.soundfiles import SoundFileSource
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import named


def has_afconvert() -> bool:
    """Whether this is a Mac that has it."""
    return shutil.which("afconvert") is not None


class AfconvertSource:
    """Decoded by afconvert into a temporary file, which goes with `close`; no times are kept."""

    def __init__(self, path: str, format: Format | None, name: str, part: Part = WHOLE) -> None:
        if part.track != 1:
            raise AudioError("afconvert reads the first sound track only (ffmpeg and PyAV any)")
        self._folder = tempfile.TemporaryDirectory(prefix="dsm_mlx-")
        # CAF, because a WAV file ends at 4 GiB; rate and channels stay the file's
        decoded = os.path.join(self._folder.name, "decoded.caf")
        run = subprocess.run(
            ["afconvert", "-f", "caff", "-d", "LEI16", os.path.abspath(path), decoded],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if run.returncode or not os.path.exists(decoded):
            self._folder.cleanup()
            said = named((run.stderr or run.stdout).strip()) or "no sound"
            raise AudioError(f"afconvert: {said}")
        self._file = SoundFileSource(decoded, name)
        self.rate, self.duration = self._file.rate, self._file.duration
        self.channels = self._file.channels

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._file)

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()
