"""Playback of sound that is still being made, through a jitter buffer."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from dsm_mlx.audio.devices import (
    LOST_SECONDS,
    POLL_SECONDS,
    close_stream,
    find_device,
    open_stream,
    portaudio,
    refresh_devices,
)
from dsm_mlx.audio.events import DeviceEvent, Teller
from dsm_mlx.audio.playout import DeviceClock, Playout
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.audio.samples import check_pcm
from dsm_mlx.errors import AudioError

DEVICE_SECONDS = 0.1  # what the device holds: PulseAudio stutters with less
CAPACITY_SECONDS = 10.0  # `write` waits beyond this
PIECE_SECONDS = 0.1  # a long chunk is resampled in pieces, not to hold up the device
NOTHING = np.zeros(0, np.float32)


class Speaker:
    """Plays float32 mono chunks at `sample_rate` Hz on an output device, at the device's own rate.

    `device` is an index, a part of the name, or None for the system's default. Playback starts
    once `prebuffer` seconds wait, or at `drain()`. `.underruns` counts the gaps that were heard
    because the next chunk came late; they are also logged as warnings. Leaving the `with` block
    plays what is left, or drops it if an error is on its way. All methods may be called from any
    thread. `.position` is how much of what was written has been heard. Raises `AudioError` for a
    missing device.

    A device that stops is noticed by `write` and `drain`, and opened again once. What waits is then
    played on; what the device held counts as heard. Where that fails they raise `AudioError`.
    `on_event` is called with a `DeviceEvent` for each of these and for underruns, in the thread
    that writes or drains, which goes on afterwards; what it raises is logged.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int = 24_000,
        prebuffer: float = 0.16,
        *,
        on_event: Callable[[DeviceEvent], object] | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.underruns = 0
        self._wanted, self._prebuffer_seconds = device, prebuffer
        self._tell = Teller("loudspeaker", on_event)
        self._condition = threading.Condition()
        self._chunks: deque[np.ndarray] = deque()
        self._waiting = 0  # samples in the chunks, at the device's rate
        self._playing = False
        self._ending = False  # no more will come: play what there is, and being empty is right
        self._dry = False  # empty in the middle: a gap, if more comes
        self._turn = 0  # counts the calls of stop
        self._playout = Playout(sample_rate)
        self._closed = False
        self._opening = threading.RLock()  # one thread opens; `on_event` may call us meanwhile
        self._tried = False  # opened again, and not asked for sound since
        self._why = ""  # it cannot be opened again
        self._rate = 0.0  # of the device
        self._open()

    def _open(self) -> None:
        """Open the device as it is now. Each opening has a callback and an end of its own."""
        device = find_device(self._wanted, "output")
        ended = threading.Event()

        def fill(out: np.ndarray, frames: int, when: object, status: object) -> None:
            if ended is self._ended:
                self._fill(out, frames, when)
            else:  # given up, and now it answers
                out[:] = 0

        with self._condition:
            self._use_rate(device.sample_rate)
            self.device, self._ended = device, ended
            self._clock, self._latency = DeviceClock(), DEVICE_SECONDS
            self._asked = time.monotonic()  # when the device last asked for sound
        try:
            self._stream = open_stream(
                "output",
                device,
                latency=DEVICE_SECONDS,
                callback=fill,
                finished_callback=ended.set,
            )
        except AudioError:
            ended.set()
            raise
        self._latency = self._stream.latency
        with suppress(portaudio().PortAudioError), self._condition:  # there is no such time
            self._clock.look(time.monotonic(), self._stream.time)

    def _use_rate(self, rate: float) -> None:
        """Bring the chunks, and all that follow, to the device's `rate`."""
        if rate == self._rate:
            return
        if self._rate:
            self._push(self._resampler(NOTHING, last=True))
        if self._waiting:
            whole = Resampler(self._rate, rate)(np.concatenate(self._chunks), last=True)
            self._chunks.clear()
            self._waiting = 0
            self._push(whole)
        self._rate = rate
        self._resampler: Resampler = Resampler(self.sample_rate, rate)
        self._prebuffer = int(self._prebuffer_seconds * rate)
        self._capacity = self._prebuffer + int(CAPACITY_SECONDS * rate)

    def _fill(self, out: np.ndarray, frames: int, when: object) -> None:
        """Called by the device, in its own thread, for the next `frames` samples."""
        now = time.monotonic()
        with self._condition:
            self._asked, self._tried = now, False
            heard_at = self._clock.heard_at(now, when, self._latency)
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
            if filled:
                all_given = self._ending and not self._waiting
                self._playout.give(filled / self._rate, heard_at, all_given)
            self._playout.heard(now)  # and is forgotten: it must not pile up
            self._condition.notify_all()

    def write(self, chunk: np.ndarray) -> None:
        """Queue float32 (samples,) for playing; waits while more than 10 s are queued.

        What is beyond -1 to 1 is clipped. A `stop()` from another thread ends the wait, and drops
        the rest of the chunk. Raises what `check_pcm` raises for samples that cannot be sound.
        """
        chunk = np.clip(check_pcm(chunk, "sound to play", self.sample_rate), -1, 1)
        turn, size = self._turn, int(PIECE_SECONDS * self.sample_rate)
        for start in range(0, len(chunk), size):
            piece = chunk[start : start + size]
            with self._condition:
                self._wait_until(lambda: self._waiting <= self._capacity and not self._lost(), turn)
                if turn != self._turn:
                    return
                late, self._dry, self._ending = self._dry, False, False
                self._playout.write(len(piece))
                self._push(self._resampler(piece))
            if late:
                self.underruns += 1
                message = f"playback fell behind {self.underruns} times: sound came too late"
                self._tell.often("underrun", self.device.name, message)

    def drain(self, timeout: float | None = None) -> bool:
        """Play all that was written and wait for its end, at most `timeout` seconds.

        Says that nothing more belongs to this utterance: without it, the last moments of sound
        may stay in the buffer, and the next chunk counts as late. True if all was heard, so that
        `position` is `written`, or if it was stopped.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._condition:
            self._push(self._resampler(NOTHING, last=True))
            self._ending, self._dry = True, False
            return self._wait_until(self._is_heard, self._turn, until)

    def stop(self) -> float:
        """Fall silent: drop all that waits. What is written later is played.

        Returns the seconds of what was written since the last stop that are heard. With them count
        those, 0.1 s or so, that the device holds at this moment: they cannot be taken back.
        `written` and `position` begin again at 0. Cancel whatever writes before calling this, or
        its next chunk will be heard.
        """
        with self._condition:
            self._turn += 1
            heard = self._playout.given
            self._playout.clear()
            self._chunks.clear()
            self._waiting = 0
            self._resampler.clear()
            self._playing = self._dry = False
            self._condition.notify_all()
        return heard

    @property
    def written(self) -> float:
        """Seconds that were written since the last `stop()`, or since the speaker was opened.

        A chunk for which `write` waits counts as far as it is queued.
        """
        return self.progress[1]

    @property
    def position(self) -> float:
        """Seconds of what was written since the last `stop()`, or since the speaker was opened,
        that have been heard.

        It grows by the clock while there is sound and stands still in a gap; it never goes beyond
        `written`, and never back, but to 0 at a stop. What waits here and in the device is not yet
        heard: the device says how long it waits there; one that does not is taken to play at once
        what it is given. Cheap, from any thread.
        """
        return self.progress[0]

    @property
    def progress(self) -> tuple[float, float]:
        """`position` and `written` at one and the same moment."""
        with self._condition:
            return self._playout.heard(time.monotonic()), self._playout.written

    def close(self) -> None:
        """Stop, and give the device back; returns within 2 s whatever the device does."""
        self._closed = True
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

    def _wait_until(self, ready: Callable[[], bool], turn: int, until: float | None = None) -> bool:
        """Wait, with the lock, for `ready` or the end of the turn; False if the time is over."""
        while turn == self._turn and not ready():
            if until is not None and time.monotonic() >= until:
                return False
            if self._lost():
                self._condition.release()  # a device may be in a callback, waiting for the lock
                try:
                    self._reopen()
                finally:
                    self._condition.acquire()
            else:
                self._condition.wait(POLL_SECONDS)
        return True

    def _is_heard(self) -> bool:
        return not self._waiting and self._playout.is_heard(time.monotonic())

    def _lost(self) -> bool:
        return self._ended.is_set() or time.monotonic() - self._asked > LOST_SECONDS

    def _reopen(self) -> None:
        """Open a lost device again. Raises `AudioError` where that was in vain, now or before."""
        with self._opening:
            name = self.device.name
            if self._closed:
                raise AudioError(f"the loudspeaker {name!r} is closed: it plays no more")
            if self._why:
                raise AudioError(self._why)
            if not self._lost():  # another thread has opened it
                return
            if self._tried:
                self._why = self._tell.lost(name, "it takes no sound")
                raise AudioError(self._why)
            self._tried = True
            self._tell.stopped(name)
            close_stream(self._stream)
            refresh_devices()
            try:
                self._open()
            except AudioError as error:
                self._why = self._tell.lost(name, error)
                raise AudioError(self._why) from None
            if self._closed:  # meanwhile, by another thread
                close_stream(self._stream)
            else:
                self._tell.reopened(name, self.device.name)
