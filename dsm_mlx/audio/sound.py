"""Any sound in, float32 mono out: the one way for files, streams, bytes and arrays."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, BinaryIO

import numpy as np

from dsm_mlx.audio.downmix import Downmix
from dsm_mlx.audio.encodings import RawFormat
from dsm_mlx.audio.part import WHOLE, Part
from dsm_mlx.audio.reader import Reader
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.audio.samples import MAX_CHANNELS, as_samples, check_range, check_rate
from dsm_mlx.audio.sources import ArraySource, Source, open_path, open_stream
from dsm_mlx.checks import check_whole
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import named, shown


class Sound:
    """Any sound as float32 mono at `target` Hz, read as it is needed, once.

    source:
        a path (str or os.PathLike): wav, flac, ogg, mp3 and aiff are read directly; m4a, mp4, aac,
            webm and others by what the system has: ffmpeg, PyAV or (macOS) afconvert.
        a binary file object, from where it stands: a pipe, a socket's file, BytesIO, … It is
            decoded while it comes where its format allows that, and never closed.
        bytes, bytearray or a memoryview of bytes: a sound file in memory.
        an array (samples,) or (samples, channels) at `sample_rate` Hz: numpy, MLX, torch, whatever
            has `__array__` or the buffer protocol; see `as_samples` for the types.
    sample_rate: of an array, which cannot do without; files have their own.
    raw: what samples without a header are; a file that begins with the signature of a known format
        is still read as that. assumed: the same, but only for bytes that look like nothing else
        either, such as text, or mp3 that begins in the middle.
    name: how errors and warnings call it; by default its path or name.
    part: which track, and from where to where; all of the first one by default.
    channel: which channel alone, counted from 1; None: all of them, down-mixed (see `Downmix`).

    Iterating gives blocks of any length as they come, `blocks` gives equal ones. Sound that begins
    later than its file, as in a video, has silence before it. `.duration` is the length in seconds
    of what will come, or None where the source does not tell; `.channels` is how many there are.

    Raises AudioError, beginning with the name, for what is missing, empty, damaged, not sound, or
    holds no samples or such as `check_range` refuses; ValueError for an array of another shape or
    type, or without its rate; TypeError for anything else. A file that breaks off gives what is
    there, and a warning of the logger `dsm_mlx`.
    """

    def __init__(
        self,
        source: Any,
        sample_rate: float | None = None,
        *,
        target: float = 24_000,
        raw: RawFormat | None = None,
        assumed: RawFormat | None = None,
        name: str | None = None,
        part: Part = WHOLE,
        channel: int | None = None,
    ) -> None:
        for argument, value in (("raw", raw), ("assumed", assumed)):
            if not isinstance(value, RawFormat | None):
                raise TypeError(f"{argument} is {shown(value)} (expected a RawFormat)")
        if not isinstance(part, Part):
            raise TypeError(f"part is {shown(part)} (expected a Part)")
        self.sample_rate = check_rate(target, "target")
        rate = None if sample_rate is None else check_rate(sample_rate)
        self.name = named(name or _name(source))
        self._part, self._begun = part, False
        with ExitStack() as stack:
            self._source = self._open(source, rate, stack, raw, assumed)
            try:
                self._resampler = Resampler(self._source.rate, self.sample_rate)
            except AudioError as error:
                raise AudioError(f"{self.name}: {error}") from None
            self.channels = self._source.channels
            if channel is not None:
                check_whole("channel", channel, 1, self.channels)
            self._channel = channel
            self._stack = stack.pop_all()
        self.duration = part.duration(self._source.duration)

    def _open(
        self,
        source: Any,
        rate: float | None,
        stack: ExitStack,
        raw: RawFormat | None,
        assumed: RawFormat | None,
    ) -> Source:
        if isinstance(source, (str, os.PathLike)):
            return open_path(os.fsdecode(source), stack, raw, self.name, self._part)
        if _is_bytes(source):
            source = stack.enter_context(io.BytesIO(source))
        if hasattr(source, "read"):
            return open_stream(Reader(source, self.name), stack, raw, assumed, self._part)
        if not _is_array(source):
            raise TypeError(
                f"audio is {shown(source)} (expected a path, a binary file object, the bytes of a "
                "sound file, or an array)"
            )
        self._part.check_only_track(self.name)
        return ArraySource(*_array(source, rate, self.name))

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the whole sound once: float32 (samples,), of any length, as it comes."""
        if self._begun:
            raise ValueError(f"{self.name}: its sound was given out already; open it again")
        self._begun = True
        with self._stack:
            try:
                yield from self._samples()
            finally:
                self._resampler.clear()

    def _samples(self) -> Iterator[np.ndarray]:
        rate, downmix = self._source.rate, Downmix(self._source.rate, self.name)
        start, made = round(self._part.start * rate), 0
        seen = start  # in the file
        for block in self._part.cut(iter(self._source), rate):
            check_range(block, self.name, rate, seen)
            seen += len(block)
            if self._channel is not None:
                block = block[:, self._channel - 1 : self._channel]
            out = self._resampler(downmix(block))
            made += len(out)
            if len(out):
                yield out
        tail = [self._resampler(downmix.flush()), self._resampler(_NOTHING, last=True)]
        if len(end := np.concatenate(tail)):
            yield end
        elif not made:
            after = f"after {self._part.start:g} s" if start else "in it"
            raise AudioError(f"{self.name}: no sound {after} ({seen - start} samples)")

    def blocks(self, samples: int = 24_000) -> Iterator[np.ndarray]:
        """Yield the whole sound once: float32 (samples,), the last block maybe shorter."""
        check_whole("samples", samples, 1)
        parts: list[np.ndarray] = []
        have = 0
        for block in self:
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
        """Close what this opened, end its decoder and remove what that wrote."""
        self._stack.close()

    def __enter__(self) -> Sound:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AudioFile(Sound):
    """A sound file at `path` as float32 mono at `sample_rate` Hz; all else is as `Sound` says."""

    def __init__(self, path: str | os.PathLike, sample_rate: float = 24_000) -> None:
        self.path = os.fspath(path)
        super().__init__(path, target=check_rate(sample_rate))


def read(audio: Any, sample_rate: float | None = None, target: float = 24_000) -> np.ndarray:
    """A whole recording as float32 (samples,) at `target` Hz; for the arguments see `Sound`."""
    with Sound(audio, sample_rate, target=target) as sound:
        return np.concatenate(list(sound))


def read_stream(
    stream: BinaryIO,
    sample_rate: float = 24_000,
    name: str = "stdin",
    raw: RawFormat | None = None,
) -> Iterator[np.ndarray]:
    """Yield the sound of a binary stream as it comes: float32 (samples,) at `sample_rate` Hz.

    It may hold all that `Sound` reads. What has no header is taken as `raw`; where that is not
    given, as 16-bit 24 kHz mono, unless it looks like something else, and a warning in the log says
    so. Raises what `Sound` raises.
    """
    assumed = RawFormat() if raw is None else None
    rate = check_rate(sample_rate)
    with Sound(stream, target=rate, raw=raw, assumed=assumed, name=name) as sound:
        yield from sound


_NOTHING = np.zeros(0, np.float32)


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source) or "''"
    if _is_bytes(source):
        return "the bytes"
    if hasattr(source, "read"):
        name = getattr(source, "name", None)
        return name if isinstance(name, str) and name else "the stream"
    return "audio array"


def _is_bytes(source: Any) -> bool:
    plain = isinstance(source, memoryview) and source.format in ("B", "b", "c")
    return plain or isinstance(source, (bytes, bytearray))


def _is_array(source: Any) -> bool:
    if hasattr(source, "__array__"):
        return True
    try:
        memoryview(source)
    except TypeError:
        return False
    return True


def _array(source: Any, rate: float | None, name: str) -> tuple[np.ndarray, float]:
    """float32 (samples, channels) that are sound, and their rate."""
    if rate is None:
        raise ValueError("sample_rate is missing (an array does not tell its own)")
    pcm = as_samples(source, name)
    if pcm.ndim not in (1, 2) or (pcm.ndim == 2 and not 1 <= pcm.shape[1] <= MAX_CHANNELS):
        raise ValueError(
            f"{name} has shape {pcm.shape} (expected (samples,) or (samples, channels), of at most "
            f"{MAX_CHANNELS} channels)"
        )
    check_range(pcm, name, rate)
    return pcm.reshape(len(pcm), -1) if len(pcm) else pcm.reshape(0, 1), rate
