"""Who decodes a file: libsndfile, else (m4a, mp4, aac, webm) what the system has.

Each source yields float32 mono blocks and has `.rate`, `.duration` (seconds or None), `close()`.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator

import numpy as np

from dsm_mlx.audio.pcm import PcmStream
from dsm_mlx.audio.resample import mix
from dsm_mlx.errors import AudioError

logger = logging.getLogger("dsm_mlx")

READ_FRAMES = 4096  # a file that breaks off loses less than this
INSTALL = (
    "wav, flac, ogg, mp3 and aiff are read directly; m4a, mp4, aac and webm need ffmpeg "
    "(brew install ffmpeg, apt install ffmpeg) or PyAV (pip install av)"
)


def open_source(path: str):
    """The source for the file at `path`; raises `AudioError` where there is none."""
    import soundfile

    if not os.path.exists(path):
        raise AudioError(f"{path}: no such file")
    if not os.path.isfile(path):
        kind = "a directory" if os.path.isdir(path) else "not a regular file"
        raise AudioError(f"{path}: {kind}; expected a sound file")
    if not os.access(path, os.R_OK):
        raise AudioError(f"{path}: no permission to read it")
    if not os.path.getsize(path):
        raise AudioError(f"{path}: the file is empty")
    try:
        return SoundFileSource(path)
    except (soundfile.LibsndfileError, TypeError):  # TypeError: a name that ends in .raw
        return _open_with_system(path)


def _open_with_system(path: str):
    """The first decoder of this machine that can read `path`."""
    decoders = []
    if shutil.which("afconvert"):
        decoders.append(AfconvertSource)
    if shutil.which("ffmpeg"):
        decoders.append(FfmpegSource)
    elif _has_pyav():
        decoders.append(PyavSource)
    reason = INSTALL
    for decoder in decoders:
        try:
            return decoder(path)
        except AudioError as error:  # noqa: PERF203
            reason = str(error)
    raise AudioError(f"{path}: not a sound file that can be read: {reason}")


class SoundFileSource:
    """A file that libsndfile reads: wav, flac, ogg, mp3, aiff and more.

    Iterating yields float32 (samples,) at `.rate` Hz; `.duration` is in seconds or None. A file
    that breaks off gives what came before the break, and a warning.
    Raises `soundfile.LibsndfileError` where the format is not known.
    """

    def __init__(self, path: str) -> None:
        import soundfile

        self._file = soundfile.SoundFile(path)
        # soundfile seeks after every read of a file that can; mp3 decodes wrongly from there on
        self._file.seekable = lambda: False
        self.rate = self._file.samplerate
        frames = self._file.frames
        # an unknown length is given as the largest integer
        self.duration = frames / self.rate if 0 <= frames < 1 << 62 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        import soundfile

        while True:
            try:
                block = self._file.read(READ_FRAMES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                logger.warning("%s breaks off: %s", self._file.name, error.error_string)
                return
            if not len(block):
                return
            yield mix(block)

    def close(self) -> None:
        self._file.close()


class FfmpegSource:
    """Decoded by ffmpeg while it is read, through a pipe."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        # a playlist must not make ffmpeg open addresses of the network
        source = ["-protocol_whitelist", "file,pipe", "-i", "file:" + path]
        target = ["-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "wav", "pipe:1"]
        self._process = subprocess.Popen(
            ["ffmpeg", "-nostdin", "-loglevel", "error", *source, *target],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        try:
            self._stream = PcmStream(self._process.stdout, path)
            if not self._stream.has_header:
                raise AudioError(f"ffmpeg: {self._complaint()}")
        except AudioError:
            self.close()
            raise
        self.rate = self._stream.rate
        self.duration = _ffprobe_duration(path)

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self._stream
        if self._process.wait():
            logger.warning("%s breaks off: %s", self._path, self._complaint())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()

    def _complaint(self) -> str:
        """The last thing that ffmpeg said."""
        self._process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "no sound")


def _ffprobe_duration(path: str) -> float | None:
    if not shutil.which("ffprobe"):
        return None
    source = ["-protocol_whitelist", "file,pipe", "-i", "file:" + path]
    show = ["-show_entries", "format=duration", "-of", "csv=p=0"]
    run = subprocess.run(["ffprobe", "-v", "error", *source, *show], capture_output=True, text=True)
    try:
        return float(run.stdout)
    except ValueError:  # "N/A": a recording that was never finished does not know
        return None


class AfconvertSource:
    """Decoded by afconvert of macOS into a temporary file, which goes with `close`."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dsm_mlx-")
        # CAF, because a WAV file ends at 4 GiB; rate and channels stay the file's
        decoded = os.path.join(self._folder.name, "decoded.caf")
        run = subprocess.run(
            ["afconvert", "-f", "caff", "-d", "LEI16", os.path.abspath(path), decoded],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if run.returncode or not os.path.exists(decoded):
            self._folder.cleanup()
            raise AudioError(f"afconvert: {(run.stderr or run.stdout).strip() or 'no sound'}")
        self._file = SoundFileSource(decoded)
        self.rate, self.duration = self._file.rate, self._file.duration

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._file)

    def close(self) -> None:
        self._file.close()
        self._folder.cleanup()


def _has_pyav() -> bool:
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


class PyavSource:
    """Decoded by PyAV, which brings its own copy of the ffmpeg libraries."""

    def __init__(self, path: str) -> None:
        import av

        self._path = path
        try:
            self._container = av.open("file:" + path, options={"protocol_whitelist": "file,pipe"})
        except av.FFmpegError as error:
            raise AudioError(f"PyAV: {error.strerror}") from None
        if not self._container.streams.audio:
            self._container.close()
            raise AudioError("PyAV: there is no sound in it")
        self.rate = self._container.streams.audio[0].rate
        length = self._container.duration
        self.duration = None if length is None else length / av.time_base

    def __iter__(self) -> Iterator[np.ndarray]:
        import av

        planes = av.AudioResampler(format="fltp")  # floats, one row a channel
        try:
            for frame in self._container.decode(audio=0):
                for plain in planes.resample(frame):
                    yield mix(plain.to_ndarray().T)
        except av.FFmpegError as error:
            logger.warning("%s breaks off: %s", self._path, error.strerror)

    def close(self) -> None:
        self._container.close()
