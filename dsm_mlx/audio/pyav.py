"""Whatever PyAV decodes; it brings its own copy of the ffmpeg libraries."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np

from dsm_mlx.audio.ffmpeg import NoSoundError
from dsm_mlx.audio.formats import Format
from dsm_mlx.audio.part import WHOLE, Part, no_track
from dsm_mlx.audio.reader import Reader
from dsm_mlx.audio.timeline import CLOCK_SECONDS, on_time
from dsm_mlx.audio.wav import tell_end
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import reason


def has_pyav() -> bool:
    """Whether PyAV is installed; a folder that happens to be called av is not PyAV."""
    spec = find_spec("av")
    return spec is not None and spec.origin is not None


class PyavSource:
    """Decoded by PyAV; otherwise as `FfmpegSource`."""

    def __init__(
        self, source: str | Reader, format: Format | None, name: str, part: Part = WHOLE
    ) -> None:
        import av

        self._name = name
        self._file = _Readable(source) if isinstance(source, Reader) else open(source, "rb")  # noqa: SIM115
        try:
            self._container = av.open(self._file, "r", options={"protocol_whitelist": "file,pipe"})
        except (av.FFmpegError, ValueError) as error:
            self._file.close()
            raise AudioError(f"PyAV: {reason(error)}") from None
        if not self._container.streams.audio:
            kinds = ", ".join(dict.fromkeys(stream.type for stream in self._container.streams))
            self.close()
            raise NoSoundError(f"there is no sound in it, only {kinds or 'nothing'}")
        tracks, self._track = self._container.streams.audio, part.track - 1
        if len(tracks) < part.track:
            self.close()
            raise NoSoundError(no_track(len(tracks), part.track))
        stream = tracks[self._track]
        if stream.codec_context is None:
            self.close()
            raise AudioError("PyAV: does not know the codec of its sound")
        self.rate: float = stream.rate
        self.channels: int = stream.codec_context.channels
        begin = (self._container.start_time or 0) / av.time_base
        zero = format is not None and format.counts_from_zero and 0 < begin <= CLOCK_SECONDS
        self._begin = 0.0 if zero else begin  # the time, as the container counts, that is ours 0
        length = self._container.duration
        self.duration = None if length is None else length / av.time_base
        start, lasts, unit = stream.start_time, stream.duration, stream.time_base
        if start is not None and lasts is not None and unit is not None:
            end = float((start + lasts) * unit)
            self.duration = end - self._begin
        only_sound = len(self._container.streams) == len(self._container.streams.audio)
        whole = format is not None and format.tells_length and part.track == 1
        self._sure = only_sound and whole

    def __iter__(self) -> Iterator[np.ndarray]:
        import av

        done = 0
        why = ""
        pieces = self._pieces(av)
        blocks = on_time(pieces, self.rate)
        while True:
            try:
                block = next(blocks)
            except StopIteration:
                break
            except av.FFmpegError as error:
                why = reason(error)
                break
            yield block
            done += len(block)
        tell_end(self._name, done / self.rate, self.duration, self._sure, why)

    def close(self) -> None:
        self._container.close()
        self._file.close()

    def _pieces(self, av: Any) -> Iterator[tuple[float | None, np.ndarray]]:
        planes = av.AudioResampler(format="fltp", rate=int(self.rate))  # floats, one row a channel
        for frame in self._container.decode(audio=self._track):
            time = None if frame.time is None else frame.time - self._begin
            for plain in planes.resample(frame):
                yield time, plain.to_ndarray().T
                time = None


class _Readable:
    """A `Reader` as PyAV wants it: `read` alone, because there is no way back."""

    def __init__(self, reader: Reader) -> None:
        reader.settle()
        self.read = reader.read

    def close(self) -> None:
        """The stream belongs to whoever made the reader."""
