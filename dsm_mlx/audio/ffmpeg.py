"""Whatever ffmpeg decodes, from a file or, while it comes, from a stream."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from typing import IO

import numpy as np

from dsm_mlx.audio.formats import Format
from dsm_mlx.audio.matroska import MatroskaReader
from dsm_mlx.audio.part import WHOLE, Part, no_track
from dsm_mlx.audio.reader import READ_BYTES, Reader
from dsm_mlx.audio.timeline import CLOCK_SECONDS, on_time
from dsm_mlx.audio.wav import tell_end
from dsm_mlx.errors import AudioError

# a playlist must not make ffmpeg open addresses of the network
PROTOCOLS = ["-protocol_whitelist", "file,pipe"]
COMMAND = ["ffmpeg", "-nostdin", "-nostats", "-hide_banner", "-loglevel", "level+info"]
# Times count from where the file as a whole begins. Without an offset, however small, ffmpeg counts
# those of broadcasts from where the sound begins.
TIMES = ["-itsoffset", "0.000001"]
# plain samples with their times, each given out at once
SOUND = ["-c:a", "pcm_f32le", "-f", "matroska", "-cluster_size_limit", "1"]
TARGET = [*SOUND, "-flush_packets", "1", "pipe:1"]
LOG_BYTES = 1 << 16
POLL_SECONDS, CLOSE_SECONDS = 0.1, 1.0
_LENGTH = re.compile(r"^\[info\]   Duration: (\S+?),(?: start: (-?[\d.]+),)?", re.MULTILINE)
_STREAM = re.compile(r"^\[info\]   Stream #0:\d.*?: (Audio|Video|Subtitle|Data|Attachment):", re.M)
_WRONG = re.compile(r"^(?:\[[^\]]* @ 0x\w+\] )?\[(?:error|fatal|panic)\] (.+)$", re.MULTILINE)


def has_ffmpeg() -> bool:
    """Whether ffmpeg is installed."""
    return shutil.which("ffmpeg") is not None


class FfmpegSource:
    """Decoded by ffmpeg while it is read, through a pipe.

    source: a path, or a `Reader` whose bytes a thread gives to ffmpeg as they come. part: whose
    track is decoded. Iterating yields float32 (samples, channels) at `.rate` Hz; sound that begins
    later than the file, or stops for a while, comes with silence there. `.duration` is in seconds
    or None. Raises AudioError.
    """

    def __init__(
        self, source: str | Reader, format: Format | None, name: str, part: Part = WHOLE
    ) -> None:
        self._name, self._track = name, part.track
        self._log = tempfile.TemporaryFile()  # noqa: SIM115
        self._lost: Exception | None = None
        self._feeder: threading.Thread | None = None
        self._closed = threading.Event()
        piped = isinstance(source, Reader)
        self._input = "pipe:0" if piped else f"file:{source}"
        self._process = subprocess.Popen(
            [*COMMAND, *PROTOCOLS, *TIMES, "-i", self._input, *self._mapped, *TARGET],
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
        try:
            if isinstance(source, Reader) and self._process.stdin:
                source.settle()
                feed = partial(self._feed, source, self._process.stdin)
                self._feeder = threading.Thread(target=feed, daemon=True)
                self._feeder.start()
            self._sound = MatroskaReader(Reader(self._process.stdout, name))
            self.rate = self._checked_rate()
        except BaseException:
            self.close()
            raise
        self.channels = self._sound.channels
        self.duration, self._start = self._length(format)
        only_sound = set(_STREAM.findall(self._said())) == {"Audio"}
        whole = format is not None and format.tells_length and part.track == 1
        self._sure = only_sound and whole

    @property
    def _mapped(self) -> list[str]:
        return ["-map", f"0:a:{self._track - 1}"]

    def __iter__(self) -> Iterator[np.ndarray]:
        pieces = ((self._start + time, samples) for time, samples in self._sound)
        done = 0
        for block in on_time(pieces, self.rate):
            yield block
            done += len(block)
        failed = self._process.wait()
        if self._lost:
            raise self._lost
        wrong = self._complaint() or ("it failed" if failed else "")
        tell_end(self._name, done / self.rate, self.duration, self._sure, wrong)

    def close(self) -> None:
        """End ffmpeg. A stream that it was given is left where it is."""
        self._closed.set()
        self._process.kill()
        self._process.wait()
        if self._feeder:
            self._feeder.join(CLOSE_SECONDS)
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _feed(self, reader: Reader, pipe: IO[bytes]) -> None:
        """Give ffmpeg what comes, until it wants no more."""
        try:
            while self._wait(reader) and (data := reader.read(READ_BYTES)):
                pipe.write(data)
                pipe.flush()
        except OSError:  # ffmpeg has ended
            pass
        except Exception as error:  # of the stream that we read: for whoever iterates
            self._lost = error
        finally:
            with contextlib.suppress(OSError):
                pipe.close()

    def _wait(self, reader: Reader) -> bool:
        """Wait until something can be read; False if this was closed meanwhile.

        A thread that waits in a read instead could not be ended, and if that is one of stdin,
        Python aborts when it exits.
        """
        while not self._closed.is_set():
            if reader.ready(POLL_SECONDS):
                return True
        return False

    def _checked_rate(self) -> float:
        """AudioError where no sound came."""
        if self._sound.rate is not None:
            return self._sound.rate
        self._process.wait()
        if self._lost:
            raise self._lost
        kinds = _STREAM.findall(self._said())
        if kinds and "Audio" not in kinds:
            raise NoSoundError(f"there is no sound in it, only {', '.join(map(str.lower, kinds))}")
        if kinds and kinds.count("Audio") < self._track:
            raise NoSoundError(no_track(kinds.count("Audio"), self._track))
        raise AudioError(f"ffmpeg: {self._complaint() or 'there is no sound in it'}")

    def _length(self, format: Format | None) -> tuple[float | None, float]:
        """The duration, and the time at which the file begins, in seconds."""
        found = _LENGTH.search(self._said())
        duration, start = found.groups() if found else (None, None)
        begin = float(start or 0)
        if not (format and format.counts_from_zero and 0 < begin <= CLOCK_SECONDS):
            begin = 0.0
        return _seconds(duration), begin

    def _complaint(self) -> str | None:
        """The last thing that was wrong, as ffmpeg says it, without what it calls its input."""
        wrong = _WRONG.findall(self._said(tail=True))
        return wrong[-1].strip().removeprefix(f"{self._input}: ") if wrong else None

    def _said(self, tail: bool = False) -> str:
        """The beginning or the end of what ffmpeg has said so far, which may be a lot."""
        # not by reading the file, which would move the place where ffmpeg writes
        size = os.fstat(self._log.fileno()).st_size
        start = max(0, size - LOG_BYTES) if tail else 0
        return os.pread(self._log.fileno(), LOG_BYTES, start).decode(errors="replace")


class NoSoundError(AudioError):
    """A file that can be read, and has no sound in it, or no such track: no other decoder will find
    some."""


def _seconds(text: str | None) -> float | None:
    """Of "00:01:02.50"; None for "N/A"."""
    try:
        hours, minutes, seconds = (text or "").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None
