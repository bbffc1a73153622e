"""What libsndfile reads: flac, ogg, mp3, aiff and more; and where it would lose sound, unsaid."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from dsm_mlx.audio.mpeg import count_samples
from dsm_mlx.audio.ogg import scan
from dsm_mlx.audio.wav import TOLERANCE_SECONDS, tell_cut
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import reason

READ_FRAMES = 4096  # a file that breaks off loses less than this
UNKNOWN_FRAMES = 1 << 62  # libsndfile gives an unknown length as the largest integer


class UnreadableError(AudioError):
    """libsndfile does not know the format, or cannot be relied on for this file."""


class SoundFileSource:
    """A file that libsndfile reads.

    source: a path, or a binary file object that can seek, which stays open. Iterating yields
    float32 (samples, channels) at `.rate` Hz; `.duration` is in seconds or None. A file that
    breaks off gives what came before, and a warning. `.loses` says why sound will be lost all the
    same, as in files that were joined from several, where libsndfile stops early; else it is empty.
    Raises `UnreadableError` where the format is not known.
    """

    def __init__(self, source: str | BinaryIO, name: str) -> None:
        import soundfile

        self._name, self.loses = name, ""
        named = os.fsencode(source) if isinstance(source, str) else source
        try:
            self._file = soundfile.SoundFile(named)
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: the name ends in .raw
            raise UnreadableError(reason(error)) from None
        # soundfile seeks after every read of a file that can; mp3 decodes wrongly from there on
        self._file.seekable = lambda: False
        self.rate: float = self._file.samplerate
        self.channels: int = self._file.channels
        frames = self._file.frames
        self._promised = frames / self.rate if 0 <= frames < UNKNOWN_FRAMES else None
        self.duration, self._cut = self._promised, False
        if isinstance(source, str):
            with open(source, "rb") as file:
                self._examine(file)
        else:
            here = source.tell()
            source.seek(0)
            self._examine(source)
            source.seek(here)

    def __iter__(self) -> Iterator[np.ndarray]:
        import soundfile

        done, wrong = 0, None
        while wrong is None:
            try:
                block = self._file.read(READ_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                wrong = reason(error)
                break
            if not len(block):
                break
            yield block
            done += len(block)
        seconds = done / self.rate
        missing = self._promised is not None and self._promised - seconds > TOLERANCE_SECONDS
        if missing or wrong is not None or self._cut or self.loses:
            why = wrong or self.loses
            tell_cut(self._name, seconds, self._promised if missing else None, why)

    def close(self) -> None:
        self._file.close()

    def _examine(self, file: Any) -> None:
        """Look where libsndfile does not: it tells nothing of what is missing, or left."""
        if self._file.format == "MP3":
            samples, promised = count_samples(file)
            seconds = samples / self.rate
            if self._promised is None or self._promised < seconds - TOLERANCE_SECONDS:
                self.loses = "its header does not tell its whole length; ffmpeg would read all"
                self._promised = seconds
            elif promised is None:
                self._promised = None  # a guess of libsndfile's
            self.duration = seconds
        elif self._file.format == "OGG":
            pages = scan(file)
            self._cut = not pages.whole
            if pages.chained:
                self.loses = "it holds several streams in a row; ffmpeg would read all"
        elif self._file.format in ("AIFF", "AU"):
            self._promised = _promised(file, self._promised)


def _promised(file: Any, seconds: float | None) -> float | None:
    """The seconds that a file of AIFF or AU says it has: libsndfile tells those that are there."""
    head = file.read(12)
    length = file.seek(0, os.SEEK_END)
    if head[:4] == b"FORM":
        size = 8 + int.from_bytes(head[4:8], "big")
    elif head[:4] == b".snd" and head[8:] != b"\xff" * 4:
        size = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:], "big")
    else:
        return seconds
    return seconds * size / length if seconds and size > length else seconds
