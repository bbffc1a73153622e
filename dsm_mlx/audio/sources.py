"""Who decodes what: WAV and raw samples here, the rest by libsndfile or what the system has.

Each source yields float32 (samples, channels) at `.rate` Hz, and has `.channels`, `.duration`
(seconds or None) and `close()`.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Protocol

import numpy as np

from dsm_mlx.audio.afconvert import AfconvertSource, has_afconvert
from dsm_mlx.audio.encodings import RawFormat
from dsm_mlx.audio.ffmpeg import FfmpegSource, NoSoundError, has_ffmpeg
from dsm_mlx.audio.formats import OGG_VIDEO, WAV, Format, guessed, told
from dsm_mlx.audio.part import Part
from dsm_mlx.audio.pyav import PyavSource, has_pyav
from dsm_mlx.audio.reader import READ_BYTES, Reader, UnreadError
from dsm_mlx.audio.soundfiles import SoundFileSource, UnreadableError
from dsm_mlx.audio.wav import PcmSource, open_wav
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import reason

BLOCK_SAMPLES = 24_000
logger = logging.getLogger("dsm_mlx")
READ = "wav, flac, ogg, mp3 and aiff are read directly"
INSTALL = "ffmpeg (brew install ffmpeg, apt install ffmpeg) or PyAV (pip install av)"


class Source(Protocol):
    """What all sources have."""

    rate: float
    channels: int
    duration: float | None

    def __iter__(self) -> Iterator[np.ndarray]: ...

    def close(self) -> None: ...


class ArraySource:
    """Samples that are in memory: float32 (samples, channels)."""

    def __init__(self, samples: np.ndarray, rate: float) -> None:
        self.rate, self.channels, self._samples = rate, samples.shape[1], samples
        self.duration: float | None = len(samples) / rate

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._samples), BLOCK_SAMPLES):
            yield self._samples[start : start + BLOCK_SAMPLES]

    def close(self) -> None:
        """The array is the caller's."""


def open_path(path: str, stack: ExitStack, raw: RawFormat | None, name: str, part: Part) -> Source:
    """The source for the file at `path`; what it holds open is closed with `stack`.

    raw: what samples without a header are, or None where there must be one. part: whose track is
    read. Raises AudioError, beginning with `name`.
    """
    _check_file(path, name)
    try:
        file = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise AudioError(f"{name}: cannot be read: {reason(error)}") from None
    stack.enter_context(file)
    format, plain = _look(Reader(file, name), raw, None)
    if plain:
        part.check_only_track(name)
        return plain
    return _opened(stack, _decode_file(path, format, name, part))


def open_stream(
    reader: Reader,
    stack: ExitStack,
    raw: RawFormat | None,
    assumed: RawFormat | None,
    part: Part,
) -> Source:
    """The source for what comes through `reader`; `raw` and `assumed` are as `Sound` has them,
    `part` as in `open_path`."""
    format, plain = _look(reader, raw, assumed)
    if plain:
        part.check_only_track(reader.name)
        return plain
    if not reader.peek(1):
        raise AudioError(f"{reader.name}: there is nothing in it")
    if format is not OGG_VIDEO and (source := _decode_in_memory(reader)):
        _opened(stack, source)
        part.check_only_track(reader.name)
        return source
    if format is None and not reader.seekable:
        raise AudioError(f"{reader.name}: no sound of a known format{_RAW}")
    if format is not None and format.streams and (decoders := _streaming_decoders()):
        return _opened(stack, _tried(decoders[0], reader, format, reader.name, part))
    path = _written(reader, stack, format)
    return _opened(stack, _decode_file(path, format, reader.name, part))


_RAW = " (samples without a header can be read where their format is given: raw=RawFormat(…))"


def _look(
    reader: Reader, raw: RawFormat | None, assumed: RawFormat | None
) -> tuple[Format | None, PcmSource | None]:
    """What the bytes are, and their source where that takes no decoder."""
    format = told(reader)
    if format is WAV:
        return format, open_wav(reader)
    if format is None and raw:
        return None, PcmSource(reader, raw)
    format = format or guessed(reader)
    if format is None and assumed:
        if reader.peek(1):
            logger.warning(
                "%s: samples without a header, heard as %s, %d Hz, %d channel, because nothing "
                "tells what they are (--rate, --encoding, --channels; raw=RawFormat(…))",
                reader.name,
                assumed.encoding,
                assumed.sample_rate,
                assumed.channels,
            )
        return None, PcmSource(reader, assumed)
    if format is not None and not format.sound:
        raise AudioError(f"{reader.name}: not a sound file that can be read: it is {format.name}")
    return format, None


def _decode_in_memory(reader: Reader) -> SoundFileSource | None:
    """By libsndfile, from a file object that can seek and stands at its beginning."""
    stream = reader.hand_over()
    if stream is None or stream.tell() != 0:
        return None
    try:
        source = SoundFileSource(stream, reader.name)
        if not (source.loses and _streaming_decoders()):
            return source
        source.close()
    except UnreadableError:
        pass
    stream.seek(0)
    return None


def _decode_file(path: str, format: Format | None, name: str, part: Part) -> Source:
    """The first decoder that can read the file at `path`."""
    fallback = None
    if format is not OGG_VIDEO:
        try:
            fallback = SoundFileSource(path, name)
        except UnreadableError:
            pass
        else:
            try:
                part.check_only_track(name)
            except AudioError:
                fallback.close()
                raise
            if not fallback.loses:
                return fallback
    wrong: AudioError | None = None
    for decoder in _decoders():
        try:
            source = _tried(decoder, path, format, name, part)
        except NoSoundError:  # noqa: PERF203
            raise
        except AudioError as error:
            wrong = wrong or error
        else:
            if fallback:
                fallback.close()
            return source
    if fallback:
        return fallback
    needs = f"{format.name} needs {INSTALL}" if format else f"{READ}; others need {INSTALL}"
    raise wrong or AudioError(f"{name}: not a sound file that can be read: {needs}")


def _tried(decoder, source: str | Reader, format: Format | None, name: str, part: Part) -> Source:
    try:
        return decoder(source, format, name, part)
    except NoSoundError as error:
        raise NoSoundError(f"{name}: {error}") from None
    except UnreadError:
        raise
    except (AudioError, OSError) as error:
        raise AudioError(f"{name}: not a sound file that can be read: {reason(error)}") from None


def _decoders() -> list:
    """What this machine has for files, beside libsndfile; those that keep times come first."""
    return _streaming_decoders() + ([AfconvertSource] if has_afconvert() else [])


def _streaming_decoders() -> list:
    """What decodes while it comes."""
    return [FfmpegSource] * has_ffmpeg() + [PyavSource] * has_pyav()


def _opened(stack: ExitStack, source: Source) -> Source:
    stack.callback(source.close)
    return source


def _written(reader: Reader, stack: ExitStack, format: Format | None) -> str:
    """All that comes, in a temporary file: for decoders that must look at the end first."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dsm_mlx-"))
    suffix = "." + format.name.split()[0].lower() if format else ""  # a hint for decoders
    path = os.path.join(folder, "sound" + suffix)
    reader.settle()
    try:
        with open(path, "wb") as file:
            while data := reader.read(READ_BYTES):
                file.write(data)
    except OSError as error:
        raise AudioError(f"{reader.name}: cannot be kept in {folder}: {reason(error)}") from None
    return path


def _check_file(path: str, name: str) -> None:
    if not os.path.exists(path):
        raise AudioError(f"{name}: no such file")
    if not os.path.isfile(path):
        kind = "a directory" if os.path.isdir(path) else "not a regular file"
        raise AudioError(f"{name}: {kind}; expected a sound file")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{name}: no permission to read it")
    if not os.path.getsize(path):
        raise AudioError(f"{name}: the file is empty")
