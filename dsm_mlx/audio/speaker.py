"""Playback of sound that is still being made, through a jitter buffer."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np

from dsm_mlx.audio.devices import (
    LOST_SECONDS,
    POLL_SECONDS,
    Notice,
    close_stream,
    find_device,
    open_stream,
)
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.errors import AudioError

DEVICE_SECONDS = 0.1  # what the device holds: PulseAudio stutters with less
CAPACITY_SECONDS = 10.0  # `write` waits beyond this
PIECE_SECONDS = 0.1  # a long chunk is resampled in pieces, not to hold up the device


class Speaker:
    """Plays float32 mono chunks at `sample_rate` Hz on an output device, at the device's own rate.

    `device` is an index, a part of the name, or None for the system's default. Playback starts
    once `prebuffer` seconds wait, or at `drain()`. `.underruns` counts the gaps that were heard
    because the next chunk came late; they are also logged as warnings. Leaving the `with` block
    plays what is left, or drops it if an error is on its way. All methods may be called from any
    thread. Raises `AudioError` for a missing device, and where it is lost while playing.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int = 24_000,
        prebuffer: float = 0.16,
    ) -> None:
        self.device = find_device(device, "output")
        self.sample_rate = sample_rate
        self.underruns = 0
        rate = self.device.sample_rate
        self._resampler = Resampler(sample_rate, rate)
        self._prebuffer = int(prebuffer * rate)
        self._capacity = self._prebuffer + int(CAPACITY_SECONDS * rate)
        self._condition = threading.Condition()
        self._chunks: deque[np.ndarray] = deque()
        self._waiting = 0  # samples in the chunks, at the device's rate
        self._playing = False
        self._ending = False  # no more will come: play what there is, and being empty is right
        self._dry = False  # empty in the middle: a gap, if more comes
        self._turn = 0  # counts the calls of stop
        self._asked = time.monotonic()  # when the device last asked for sound
        self._ended = threading.Event()
        self._notice = Notice()
        self._stream = open_stream(
            "output",
            self.device,
            latency=DEVICE_SECONDS,
            callback=self._fill,
            finished_callback=self._ended.set,
        )

    def _fill(self, out: np.ndarray, frames: int, when: object, status: object) -> None:
        """Called by the device, in its own thread, for the next `frames` samples."""
        with self._condition:
            self._asked = time.monotonic()
            if self._ending or self._waiting >= self._prebuffer:
                self._playing = self._waiting > 0
            filled = 0
            while self._playing and filled < frames and self._chunks:
                chunk = self._chunks.popleft()
                part = chunk[: frames - filled]
                out[filled : filled + len(part)] = part[:, None]
                filled += len(part)
                if len(part) < len(chunk):
                    self._chunks.appendleft(chunk[len(part) :])
            out[filled:] = 0
            self._waiting -= filled
            if self._playing and not self._waiting:
                self._playing = False
                self._dry = not self._ending
            self._condition.notify_all()

    def write(self, chunk: np.ndarray) -> None:
        """Queue float32 (samples,) for playing; waits while more than 10 s are queued.

        What is beyond -1 to 1 is clipped. A `stop()` from another thread ends the wait, and drops
        the rest of the chunk. Raises what `check_pcm` raises for samples that cannot be sound.
        """
        chunk = np.clip(check_pcm(chunk, "sound to play", self.sample_rate), -1, 1)
        turn, size = self._turn, int(PIECE_SECONDS * self.sample_rate)
        for start in range(0, len(chunk), size):
            with self._condition:
                while self._waiting > self._capacity and turn == self._turn:
                    self._wait()
                if turn != self._turn:
                    return
                self._check()
                late, self._dry, self._ending = self._dry, False, False
                self._push(self._resampler(chunk[start : start + size]))
            if late:
                self.underruns += 1
                self._notice(f"playback fell behind {self.underruns} times: sound came too late")

    def drain(self, timeout: float | None = None) -> bool:
        """Play all that was written and wait for its end, at most `timeout` seconds.

        Says that nothing more belongs to this utterance: without it, the last moments of sound
        may stay in the buffer, and the next chunk counts as late. True if all was played or
        stopped.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            turn = self._turn
            self._push(self._resampler(np.zeros(0, np.float32), last=True))
            self._ending, self._dry = True, False
            while self._waiting:
                if until is not None and time.monotonic() >= until:
                    return False
                self._wait()
        if turn == self._turn:
            time.sleep(self._stream.latency)  # what the device holds is not yet heard
        return True

    def stop(self) -> None:
        """Fall silent at once: drop all that waits. What is written later is played.

        Cancel whatever writes before calling this, or its next chunk will be heard.
        """
        with self._condition:
            self._turn += 1
            self._chunks.clear()
            self._waiting = 0
            self._resampler.clear()
            self._playing = self._dry = False
            self._condition.notify_all()

    def close(self) -> None:
        """Stop, and give the device back; returns within 2 s whatever the device does."""
        self.stop()
        close_stream(self._stream)

    def __enter__(self) -> Speaker:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        try:
            if error is None:
                self.drain()
        finally:
            self.close()

    def _push(self, samples: np.ndarray) -> None:
        if len(samples):
            self._chunks.append(samples)
            self._waiting += len(samples)

    def _wait(self) -> None:
        self._condition.wait(POLL_SECONDS)
        self._check()

    def _check(self) -> None:
        if self._ended.is_set() or time.monotonic() - self._asked > LOST_SECONDS:
            raise AudioError(
                f"the loudspeaker {self.device.name!r} is lost or closed: it plays no more"
            )
