"""Sound of 24 kHz into bytes of a format, piece by piece."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from dsm_mlx.audio import to_s16le
from dsm_mlx.serve import opus
from dsm_mlx.serve.speech import wav_header

RATE = 24_000
_FRAME = 1920  # samples


class EncodingError(Exception):
    """Why a format cannot be had."""


class Encoder:
    """Raw samples, s16le."""

    media_type = "audio/pcm"

    def begin(self) -> bytes:
        return b""

    def push(self, pcm: np.ndarray) -> bytes:
        """float32 (samples,) -> what is known of the file now."""
        return to_s16le(pcm)

    def end(self) -> bytes:
        return b""


class WavEncoder(Encoder):
    """The same behind a header that promises no length."""

    media_type = "audio/wav"

    def begin(self) -> bytes:
        return wav_header()


class _Sink(io.RawIOBase):
    """A file whose bytes leave as they come. What is written over later has gone already: that is
    the length in the header, which no player of a stream looks at."""

    def __init__(self) -> None:
        self._kept, self._left, self._at = bytearray(), 0, 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        bases = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._left + len(self._kept)}
        self._at = bases[whence] + offset
        return self._at

    def write(self, data: Any) -> int:
        data = bytes(data)
        fresh = data[max(self._left - self._at, 0) :]
        start = max(self._at - self._left, 0)
        self._kept[start : start + len(fresh)] = fresh
        self._at += len(data)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        return 0

    def take(self) -> bytes:
        """What has not been taken yet."""
        data = bytes(self._kept)
        self._left += len(data)
        self._kept.clear()
        return data


class _LibsndfileEncoder(Encoder):
    format = subtype = ""

    def __init__(self) -> None:
        import soundfile

        self._sink = _Sink()
        self._file = soundfile.SoundFile(
            self._sink, "w", RATE, 1, subtype=self.subtype, format=self.format
        )

    def push(self, pcm: np.ndarray) -> bytes:
        self._file.write(pcm)
        return self._sink.take()

    def end(self) -> bytes:
        self._file.close()
        return self._sink.take()


class Mp3Encoder(_LibsndfileEncoder):
    """MPEG audio, layer 3."""

    media_type, format, subtype = "audio/mpeg", "MP3", "MPEG_LAYER_III"


class FlacEncoder(_LibsndfileEncoder):
    """FLAC of 16 bits."""

    media_type, format, subtype = "audio/flac", "FLAC", "PCM_16"


class OpusEncoder(Encoder):
    """In Ogg."""

    media_type = "audio/opus"

    def __init__(self) -> None:
        try:
            self._writer = opus.OggOpusWriter()
        except opus.OpusError as error:
            raise EncodingError(str(error)) from None

    def begin(self) -> bytes:
        """With a frame of silence: the header tells a player to skip as much, and the codec itself
        is late by a few milliseconds only."""
        return self._writer.header() + self._writer.frame(np.zeros(_FRAME, np.float32))

    def push(self, pcm: np.ndarray) -> bytes:
        return self._writer.frame(pcm)


class AacEncoder(Encoder):
    """In ADTS frames."""

    media_type = "audio/aac"

    def __init__(self) -> None:
        if not opus.has_pyav():
            raise EncodingError("AAC needs PyAV on the server (pip install 'dsm-mlx[opus]')")
        import av

        self._av, self._sink = av, _Sink()
        self._container = av.open(self._sink, "w", format="adts")
        self._stream = self._container.add_stream("aac", rate=RATE, layout="mono")
        self._samples = 0

    def push(self, pcm: np.ndarray) -> bytes:
        frame = self._av.AudioFrame.from_ndarray(pcm[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._samples
        self._samples += len(pcm)
        self._container.mux(self._stream.encode(frame))
        return self._sink.take()

    def end(self) -> bytes:
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._sink.take()


ENCODERS: dict[str, type[Encoder]] = {
    "mp3": Mp3Encoder,
    "opus": OpusEncoder,
    "aac": AacEncoder,
    "flac": FlacEncoder,
    "wav": WavEncoder,
    "pcm": Encoder,
}
