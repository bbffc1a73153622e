"""Sound for the tests of `dsm_mlx.audio`: tones, files, pipes, and what is heard in them."""

import io
import logging
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

RATE = 24_000
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def tone(seconds=1.0, rate=RATE, hertz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        "f4"
    )


def pitch_and_level(pcm, rate=RATE):
    """The strongest frequency in Hz and the amplitude, of the middle of a tone."""
    middle = pcm[len(pcm) // 4 : -len(pcm) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return spectrum.argmax() * rate / len(middle), np.sqrt(2 * np.mean(middle**2))


def onset(pcm, rate=RATE):
    """Seconds until the first sound."""
    return np.argmax(np.abs(pcm) > 0.1) / rate


def encoded(pcm, rate=RATE, format="WAV", subtype=None):
    """A sound file in memory, by libsndfile."""
    data = io.BytesIO()
    soundfile.write(data, pcm, rate, format=format, subtype=subtype)
    return data.getvalue()


def ffmpeg(*args, pcm=None, rate=RATE):
    """Run ffmpeg; `pcm` is its stdin, as WAV. Returns its stdout."""
    data = None if pcm is None else encoded(pcm, rate)
    command = ["ffmpeg", "-v", "error", "-y", *map(str, args)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def heard(blocks):
    return np.concatenate(list(blocks))


def warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


class Pipe(io.RawIOBase):
    """A pipe that gives at most so many bytes at a time, and cannot seek."""

    def __init__(self, data, sizes=5000):
        self.data, self.at = data, 0
        self.sizes = sizes if callable(sizes) else lambda: sizes

    def readable(self):
        return True

    def read1(self, size=-1):
        size = min(size, self.sizes())
        out = self.data[self.at : self.at + size]
        self.at += len(out)
        return out

    read = read1
