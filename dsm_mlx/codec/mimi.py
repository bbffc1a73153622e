"""The public face of the codec: whole recordings, or frame by frame."""

from __future__ import annotations

import threading
from collections.abc import Callable

import mlx.core as mx
import numpy as np

from dsm_mlx.audio.samples import as_samples, check_range
from dsm_mlx.checks import check_whole
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.messages import shown
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.device import compiled
from dsm_mlx.runtime.worker import Pieces

_AT_ONCE = 4  # frames of a whole recording in one turn of the worker


def encode_pieces(
    model: MimiModel, pcm: np.ndarray, step: Callable | None = None
) -> Pieces[np.ndarray]:
    """Sound float32 (batch, samples) -> int32 codes (batch, codebooks, frames), piece by piece.

    A last partial frame is filled up with zeros. step: `encode_step`, where it is compiled.
    """
    size, step = model.config.frame_size, step or model.encode_step
    pcm = np.pad(pcm, ((0, 0), (0, -pcm.shape[1] % size)))
    codebooks = model.quantizer.n_q
    found = [np.zeros((pcm.shape[0], codebooks, 0), np.int32)]
    state = model.encoder_state(pcm.shape[0], _AT_ONCE)
    for start in range(0, pcm.shape[1], _AT_ONCE * size):
        codes, state = step(mx.array(pcm[:, start : start + _AT_ONCE * size]), state)
        mx.eval(codes, state)
        found.append(np.array(codes))
        yield
    return np.concatenate(found, axis=2)


class Mimi:
    """Kyutai's neural codec: 24 kHz PCM <-> codes at 12.5 frames a second. Holds weights only."""

    def __init__(self, model: MimiModel):
        config = model.config
        self.sample_rate, self.frame_rate = config.sample_rate, config.frame_rate
        self.frame_size, self.bins = config.frame_size, config.bins
        self.codebooks = model.quantizer.n_q
        self._model = model
        self._encode = compiled(model.encode_step)
        self._decode = compiled(model.decode_step)

    def encode(self, pcm: np.ndarray) -> np.ndarray:
        """float32 pcm (batch, 1, samples) -> int32 codes (batch, codebooks, frames).

        A last partial frame is filled up with zeros. ValueError for another shape or no row at
        all, AudioError for NaN or infinite samples.
        """
        return worker.run_pieces(encode_pieces(self._model, self._check_pcm(pcm), self._encode))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """int32 codes (batch, n_q, frames) -> float32 pcm (batch, 1, samples).

        n_q may be any number up to `codebooks`. ValueError for another shape, no row at all, or a
        code that does not exist.
        """
        codes = self._check_codes(codes)

        def pieces() -> Pieces[list[np.ndarray]]:
            state, found = self._model.decoder_state(codes.shape[0], _AT_ONCE), []
            for start in range(0, codes.shape[2], _AT_ONCE):
                part = mx.array(codes[:, :, start : start + _AT_ONCE])
                pcm, state = self._decode(part, state)
                mx.eval(pcm, state)
                found.append(np.array(pcm))
                yield
            return found

        empty = np.zeros((codes.shape[0], 0), np.float32)
        return np.concatenate([empty, *worker.run_pieces(pieces())], axis=1)[:, None]

    def encoder(self, batch: int = 1) -> Callable[[np.ndarray], np.ndarray]:
        """A streaming encoder: call it with float32 (batch, 1, frames * 1920), whole frames.

        It returns int32 codes (batch, codebooks, frames), equal to those of `encode` on the whole.
        """
        check_whole("batch", batch, 1)
        stream = self._stream(self._encode, self._model.encoder_state, batch)

        def encode(pcm: np.ndarray) -> np.ndarray:
            pcm = self._check_pcm(pcm, batch)
            if not pcm.shape[1] or pcm.shape[1] % self.frame_size:
                raise ValueError(
                    f"pcm has {pcm.shape[1]} samples (expected whole frames of {self.frame_size})"
                )
            frames = np.split(pcm, pcm.shape[1] // self.frame_size, axis=1)
            return np.concatenate([stream(frame) for frame in frames], axis=2)

        return encode

    def decoder(self, batch: int = 1) -> Callable[[np.ndarray], np.ndarray]:
        """A streaming decoder: call it with int32 codes (batch, n_q, frames), one frame or more.

        It returns float32 (batch, 1, frames * 1920), equal to `decode` on the whole.
        """
        check_whole("batch", batch, 1)
        stream = self._stream(self._decode, self._model.decoder_state, batch)

        def decode(codes: np.ndarray) -> np.ndarray:
            codes = self._check_codes(codes, batch)
            if not codes.shape[2]:
                raise ValueError("codes hold no frame (expected one or more)")
            frames = np.split(codes, codes.shape[2], axis=2)
            return np.concatenate([stream(frame) for frame in frames], axis=1)[:, None]

        return decode

    def _stream(self, step: Callable, init_state: Callable, batch: int) -> Callable:
        """A session of its own over one compiled step."""
        lock = threading.Lock()
        state = None

        def run(inputs: np.ndarray) -> np.ndarray:
            nonlocal state
            if state is None:
                state = init_state(batch)  # here, because lazy arrays belong to a thread
            outputs, state = step(mx.array(inputs), state)
            mx.eval(outputs, state)
            return np.array(outputs)

        def call(inputs: np.ndarray) -> np.ndarray:
            with lock:
                return worker.run(run, inputs)

        return call

    def _check_pcm(self, pcm: np.ndarray, batch: int | None = None) -> np.ndarray:
        array = as_samples(pcm)
        if array.ndim != 3 or array.shape[1] != 1 or not _fits(array, batch):
            raise ValueError(
                f"pcm is of shape {array.shape} (expected ({batch or '1 or more'}, 1, samples))"
            )
        check_range(array, axis=2)
        return array[:, 0]

    def _check_codes(self, codes: np.ndarray, batch: int | None = None) -> np.ndarray:
        try:
            array = np.asarray(codes)
        except ValueError:
            raise ValueError(f"codes are {shown(codes)} (expected an array)") from None
        good = array.ndim == 3 and 1 <= array.shape[1] <= self.codebooks
        if not good or array.dtype.kind not in "iu" or not _fits(array, batch):
            raise ValueError(
                f"codes are {array.dtype} of shape {array.shape} (expected int32 "
                f"({batch or '1 or more'}, 1 to {self.codebooks}, frames))"
            )
        if array.size and not 0 <= array.min() <= array.max() < self.bins:
            raise ValueError(
                f"codes go from {array.min()} to {array.max()} (expected 0 to {self.bins - 1})"
            )
        return array.astype(np.int32)


def _fits(array: np.ndarray, batch: int | None) -> bool:
    """Whether it is of so many rows; None: of any number, but not of none."""
    return array.shape[0] == batch if batch else array.shape[0] > 0
