"""Sound files of any format, rate, channel count and length as blocks of float32 mono."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from dsm_mlx.audio.pcm import from_integers
from dsm_mlx.audio.resample import mix, resampled
from dsm_mlx.audio.sources import open_source
from dsm_mlx.errors import AudioError

MAX_CHANNELS = 64


class AudioFile:
    """A sound file as float32 mono at `sample_rate` Hz, read as it is needed.

    wav, flac, ogg, mp3 and aiff are read by libsndfile; m4a, mp4, aac, webm and others by what
    the system has: afconvert (macOS), ffmpeg, or PyAV. `.duration` is the length in seconds, or
    None where the file does not tell. Raises `AudioError`, beginning with the path, for a file
    that is missing, empty, damaged, not sound, or holds NaN.
    """

    def __init__(self, path: str | os.PathLike, sample_rate: int = 24_000) -> None:
        self.path = os.fspath(path)
        self.sample_rate = sample_rate
        self._source = open_source(self.path)
        self.duration = self._source.duration

    def blocks(self, samples: int = 24_000) -> Iterator[np.ndarray]:
        """Yield the whole file once: float32 (samples,), the last block maybe shorter."""
        parts: list[np.ndarray] = []
        have = 0
        for block in resampled(self._source, self._source.rate, self.sample_rate, self.path):
            parts.append(block)
            have += len(block)
            if have >= samples:
                joined = np.concatenate(parts)
                for start in range(0, have - samples + 1, samples):
                    yield joined[start : start + samples]
                parts = [joined[have - have % samples :]]
                have %= samples
        if have:
            yield np.concatenate(parts)

    def close(self) -> None:
        """Close the file, end its decoder and remove what that wrote."""
        self._source.close()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(
    audio: str | os.PathLike | np.ndarray,
    sample_rate: int | None = None,
    target: int = 24_000,
) -> np.ndarray:
    """A whole file or array as float32 (samples,) at `target` Hz.

    An array is (samples,) or (samples, channels) at `sample_rate` Hz (None: at `target`); floats
    between -1 and 1, or int16 or int32, which are scaled. Raises `AudioError` for any other shape
    or type, NaN or infinity, no samples, or a file that cannot be read (see `AudioFile`).
    """
    if isinstance(audio, (str, os.PathLike)):
        with AudioFile(audio, target) as file:
            return np.concatenate(list(file.blocks()))
    pcm = _mono_array(np.asarray(audio))
    rate = target if sample_rate is None else sample_rate
    return np.concatenate(list(resampled([pcm], rate, target, "audio array")))


def _mono_array(pcm: np.ndarray) -> np.ndarray:
    if pcm.ndim not in (1, 2) or (pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS):
        raise AudioError(
            f"audio array of shape {pcm.shape}: expected (samples,) or (samples, channels)"
        )
    if pcm.dtype in (np.int16, np.int32):
        pcm = from_integers(pcm)
    elif pcm.dtype.kind != "f":
        raise AudioError(f"audio array of type {pcm.dtype}: expected float, int16 or int32")
    pcm = pcm.astype(np.float32, copy=False)
    return pcm if pcm.ndim == 1 else mix(pcm)
