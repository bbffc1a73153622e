"""What is changed: very small models and sounds in every format, all made here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile

_TESTS = Path(__file__).parents[2] / "tests"
MODELS = {"stt": "stt-tiny", "tts": "tts-tiny"}
RATE = 24_000
_SOUNDS = {
    "s16.wav": "PCM_16", "s24.wav": "PCM_24", "u8.wav": "PCM_U8", "float.wav": "FLOAT",
    "double.wav": "DOUBLE", "a-law.wav": "ALAW", "u-law.wav": "ULAW", "one.flac": "PCM_16",
    "one.ogg": "VORBIS", "opus.ogg": "OPUS", "one.mp3": None, "one.aiff": "PCM_16",
    "one.caf": "PCM_16", "one.au": "PCM_16",
}  # fmt: skip
_BY_FFMPEG = ("one.m4a", "one.webm", "one.mkv", "one.mp4", "one.aac")


def make(folder: Path) -> None:
    """The models as `folder/stt` and `folder/tts`, and `folder/sounds`."""
    sys.path.insert(0, str(_TESTS))
    import small

    for name, model in MODELS.items():
        small.checkpoint(model, folder / name)
    sounds = folder / "sounds"
    sounds.mkdir()
    t = np.arange(RATE // 4) / RATE
    pcm = 0.3 * np.sin(2 * np.pi * (200 + 900 * t) * t)
    for name, subtype in _SOUNDS.items():
        soundfile.write(sounds / name, np.stack([pcm, -pcm / 2], 1), RATE, subtype)
    ffmpeg = shutil.which("ffmpeg")
    for name in _BY_FFMPEG if ffmpeg else ():
        command = [ffmpeg, "-v", "error", "-i", sounds / "s16.wav", sounds / name]
        subprocess.run(command, check=True)
