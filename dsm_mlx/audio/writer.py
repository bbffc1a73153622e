"""Writing sound while it is being made: files of several formats, or raw samples for a pipe."""

from __future__ import annotations

import contextlib
import os
import secrets
import struct
from typing import Any, BinaryIO

import numpy as np

from dsm_mlx.audio.samples import check_pcm, check_rate
from dsm_mlx.checks import check_path
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import named, reason, shown

HEADER_BYTES = 44
MAX_SIZE = 0xFFFFFFFF
FORMATS = {  # suffix → what libsndfile calls it; wav is written here
    ".wav": None,
    ".flac": ("FLAC", "PCM_16"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".ogg": ("OGG", "VORBIS"),
}
PIECE_SAMPLES = 1 << 14  # libsndfile keeps what it encodes at a time on the stack


def to_s16le(pcm: np.ndarray) -> bytes:
    """float32 (samples,) to signed 16-bit little-endian bytes; clipped to -1..1.

    For a pipe: `stdout.buffer.write(to_s16le(chunk))`. Raises what `check_pcm` raises for samples
    that cannot be sound.
    """
    pcm = check_pcm(pcm, "the sound to write")
    return np.clip(np.round(pcm * 32768), -32768, 32767).astype("<i2").tobytes()


def writable_formats() -> list[str]:
    """The suffixes that `SoundWriter` knows here: mp3 depends on the libsndfile of this machine."""
    import soundfile

    there = soundfile.available_formats()
    return [suffix for suffix, kind in FORMATS.items() if kind is None or kind[0] in there]


class SoundWriter:
    """A mono sound file whose format its suffix tells: wav, flac, mp3 or ogg, of 16 bits.

    It is written beside `path` and takes its place, whole, when it is closed; leaving `with` with
    an error, or `discard`, removes it and leaves what was there before. sample_rate: in Hz, an
    integer; mp3 knows nine of them. Raises ValueError for another suffix or rate, and AudioError
    where the file cannot be written. Values beyond -1 to 1 are clipped.
    """

    def __init__(self, path: str | os.PathLike, sample_rate: int = 24_000) -> None:
        self.path = check_path("path", path)
        self.sample_rate = _whole(check_rate(sample_rate))
        self._name = named(self.path)
        suffix = check_suffix(self.path)
        target = os.path.realpath(self.path)  # what a link points to, so that the link stays
        if os.path.exists(target) and not os.path.isfile(target):
            raise AudioError(f"{self._name}: cannot be written: it is no ordinary file")
        self._target = target
        # not made from the target's name, which may be as long as names can be
        self._beside = os.path.join(os.path.dirname(target), f".dsm-{secrets.token_hex(6)}.tmp")
        self._writer: Any = None
        try:
            self._file = open(self._beside, "xb")  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from None
        try:
            self._writer = self._open(FORMATS[suffix])
        except BaseException:
            self.discard()
            raise

    def write(self, pcm: np.ndarray) -> None:
        """Append float32 (samples,)."""
        if self._file.closed:
            raise ValueError(f"{self._name}: the file is closed")
        if isinstance(self._writer, WavWriter):
            self._writer.write(pcm)
            return
        samples = np.frombuffer(to_s16le(pcm), "<i2")
        for start in range(0, len(samples), PIECE_SAMPLES):
            self._encode(samples[start : start + PIECE_SAMPLES])

    def close(self) -> None:
        """Finish the file and put it in its place; a second call does nothing."""
        if self._file.closed:
            return
        try:
            self._writer.close()
            self._file.close()
            os.replace(self._beside, self._target)
        except (OSError, RuntimeError) as error:
            self.discard()
            raise self._failed(error) from None
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Remove what was written; what was at the path before stays."""
        try:
            # where the disk is full, with which it may all have begun, closing fails too
            with contextlib.suppress(OSError, RuntimeError):
                if self._writer is not None:
                    self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._beside)

    def __enter__(self) -> SoundWriter:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _open(self, kind: tuple[str, str] | None) -> Any:
        if kind is None:
            return WavWriter(self._file, self.sample_rate, self._name)
        import soundfile

        format, subtype = kind
        try:
            return soundfile.SoundFile(
                self._file.fileno(), "w", self.sample_rate, 1, subtype, format=format, closefd=False
            )
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"sample_rate is {self.sample_rate}, which {format} cannot have ({reason(error)})"
            ) from None

    def _encode(self, samples: np.ndarray) -> None:
        try:
            self._writer.write(samples)
        except (OSError, RuntimeError, AssertionError) as error:  # fewer were written than given
            raise self._failed(error) from None

    def _failed(self, error: BaseException) -> AudioError:
        return AudioError(f"{self._name}: cannot be written: {reason(error)}")


def check_suffix(path: str | os.PathLike) -> str:
    """The suffix of a sound file to write, in lower case; ValueError where none is known."""
    suffix = os.path.splitext(os.fsdecode(path))[1].lower()
    known = writable_formats() if suffix != ".wav" else [suffix]
    if suffix not in known:
        raise ValueError(
            f"{named(path)}: cannot be written as {shown(suffix)} (expected a name that ends in "
            f"{', '.join(known)})"
        )
    return suffix


class WavWriter:
    """A mono 16-bit WAV file that is complete after every `write`.

    `target` is a path or a binary stream. The sizes in the header follow every write, so a file
    whose writer is interrupted or killed still plays; a stream that cannot seek (a pipe) gets the
    largest size, which players read as "until the end".
    Raises `AudioError` where the file cannot be written. A reader that closes a pipe gives
    `BrokenPipeError`, for the caller to handle.
    """

    def __init__(
        self,
        target: str | os.PathLike | BinaryIO,
        sample_rate: int = 24_000,
        name: str | None = None,
    ) -> None:
        self.sample_rate = _whole(check_rate(sample_rate))
        self.samples = 0
        stream: Any = target  # unless it is a path
        path = None if hasattr(target, "write") else check_path("target", target)
        self._owned = path is not None
        given = getattr(target, "name", None) if path is None else path
        self._name = name or named(given if isinstance(given, (str, os.PathLike)) else "stream")
        try:
            self._stream: BinaryIO = stream if path is None else open(path, "wb")  # noqa: SIM115
        except OSError as error:
            raise self._failed(error) from None
        self._start = self._stream.tell() if self._stream.seekable() else None
        self._save(self._header(MAX_SIZE if self._start is None else 0))

    def write(self, pcm: np.ndarray) -> None:
        """Append float32 (samples,), values between -1 and 1."""
        data = to_s16le(pcm)
        self.samples += len(data) // 2
        self._save(data)

    def close(self) -> None:
        """Close the file; a stream that was given stays open."""
        if self._owned:
            self._stream.close()

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _save(self, data: bytes) -> None:
        try:
            self._stream.write(data)
            if self._start is not None:
                end = self._stream.tell()
                self._stream.seek(self._start)
                self._stream.write(self._header(2 * self.samples))
                self._stream.seek(end)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> AudioError:
        return AudioError(f"{self._name}: cannot be written: {reason(error)}")

    def _header(self, size: int) -> bytes:
        rate = self.sample_rate
        riff_size, size = min(size + HEADER_BYTES - 8, MAX_SIZE), min(size, MAX_SIZE)
        form = struct.pack("<4sI4s", b"RIFF", riff_size, b"WAVE")
        layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        return form + layout + struct.pack("<4sI", b"data", size)


def _whole(rate: float) -> int:
    """Files have whole rates."""
    if rate != int(rate):
        raise ValueError(f"sample_rate is {rate} (expected an integer, in Hz)")
    return int(rate)
