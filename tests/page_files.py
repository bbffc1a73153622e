"""The files that the programs of docs/ name, in a folder that has the demos."""

import shutil
import subprocess

import numpy as np
import soundfile

from dsm_mlx.audio import SoundWriter, read

SPOKEN = 3721  # seconds, before somebody says something in the film


def furnish(place):
    """A talk, a call of two channels, a folder of recordings; where there is ffmpeg, a film."""
    recordings = place / "recordings"
    recordings.mkdir()
    bus, kitchen = (place / f"demos/audio/{name}.wav" for name in ("bus", "kitchen"))
    for path in (bus, kitchen):
        shutil.copy(path, recordings)
    with SoundWriter(place / "talk.mp3") as writer:
        writer.write(read(bus))
    shutil.copy(kitchen, place / "loonah.wav")
    _call(place / "call.wav", read(bus), read(kitchen))
    if shutil.which("ffmpeg"):
        _film(place / "film.mkv", kitchen, bus)


def _call(path, *channels):
    length = max(map(len, channels))
    padded = [np.pad(pcm, (0, length - len(pcm))) for pcm in channels]
    soundfile.write(path, np.stack(padded, axis=1), 24_000)


def _film(path, first, second):
    """Its second track begins after an hour, which takes no time to make."""
    sounds = ["-i", first, "-itsoffset", str(SPOKEN), "-i", second]
    command = ["ffmpeg", "-v", "error", *sounds, "-map", "0:a", "-map", "1:a", path]
    subprocess.run(command, check=True)
