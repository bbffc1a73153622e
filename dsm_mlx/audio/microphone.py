"""Live sound from a microphone, as the device gives it, resampled here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from dsm_mlx.audio.devices import (
    LOST_SECONDS,
    POLL_SECONDS,
    close_stream,
    find_device,
    open_stream,
    refresh_devices,
)
from dsm_mlx.audio.downmix import Downmix
from dsm_mlx.audio.events import DeviceEvent, Teller
from dsm_mlx.audio.meter import Meter
from dsm_mlx.audio.resample import Resampler
from dsm_mlx.errors import AudioError

QUEUE_BLOCKS = 500  # 10 s for a consumer that stalls, as at its first, compiling step
SILENT_SECONDS = 2.0
SILENT = (
    "only silence arrives from {!r}: it is muted, or this program has no permission "
    "(macOS: System Settings > Privacy & Security > Microphone)"
)


class Microphone:
    """Sound from an input device: iterate it for float32 (samples,) blocks at `sample_rate` Hz.

    `device` is an index, a part of the name, or None for the system's default. The device runs
    at its own rate and is down-mixed to mono (see `Downmix`). It records from here on until
    `close()`, which may come from any thread and ends the iteration.

    `.overflows` counts the times that sound was lost because nobody took it; `.silent` is true
    while nothing but zeros has come for 2 s. Both are also logged as warnings. A device that
    stops is opened again once (headsets change their format that way); if nothing comes from it
    even then, the iteration raises `AudioError`, as the constructor does for a missing device.

    `on_event` is called with a `DeviceEvent` for each of these, in the thread that iterates, which
    takes no sound meanwhile; what it raises is logged. `.level` and `.peak` are of the last 0.1 s
    that were recorded, whether anybody iterates or not.
    """

    def __init__(
        self,
        device: int | str | None = None,
        sample_rate: int = 24_000,
        *,
        on_event: Callable[[DeviceEvent], object] | None = None,
    ) -> None:
        self.sample_rate = sample_rate
        self.overflows = 0
        self.silent = False
        self._wanted = device
        self._closed = threading.Event()
        self._tell = Teller("microphone", on_event)
        self._told_overflows = 0
        self._told_silence = False
        self._zeros = 0
        self._start()

    def _start(self) -> None:
        """Open the device as it is now. Each opening has a queue and an end of its own."""
        self.device = find_device(self._wanted, "input")
        self._downmix = Downmix(self.device.sample_rate, self.device.name)
        self._resampler = Resampler(self.device.sample_rate, self.sample_rate)
        self._meter = meter = Meter(self.device.sample_rate)
        blocks: queue.Queue[np.ndarray] = queue.Queue(QUEUE_BLOCKS)
        self._queue = blocks
        self._ended = threading.Event()

        def take(data: np.ndarray, frames: int, when: object, status) -> None:
            self.overflows += bool(status.input_overflow)
            meter(data)
            try:
                blocks.put_nowait(data.copy())
            except queue.Full:
                self.overflows += 1

        self._stream = open_stream(
            "input",
            self.device,
            callback=take,
            finished_callback=self._ended.set,
        )

    @property
    def level(self) -> float:
        """How loud it is: decibels of full scale, from -120 (nothing) to 0, by the root mean square
        of the last 0.1 s of the loudest channel. Cheap, from any thread."""
        return self._meter.level

    @property
    def peak(self) -> float:
        """As `level`, of the greatest sample: at 0 the sound is cut off, and the gain too high."""
        return self._meter.peak

    def __iter__(self) -> Iterator[np.ndarray]:
        while (block := self._next()) is not None:
            self._watch(block)
            out = self._resampler(self._downmix(block))
            if len(out):
                yield out
        self._resampler.clear()

    def _next(self) -> np.ndarray | None:
        """The next block as recorded; None after `close()`."""
        reopened = False
        heard = time.monotonic()
        while not self._closed.is_set():
            try:
                return self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                if not self._ended.is_set() and time.monotonic() - heard < LOST_SECONDS:
                    continue
            if self._closed.is_set():
                break
            if reopened:
                raise AudioError(self._tell.lost(self.device.name, "no sound arrives"))
            self._reopen()
            reopened = True
            heard = time.monotonic()
        return None

    def _reopen(self) -> None:
        name = self.device.name
        self._tell.stopped(name)
        close_stream(self._stream)
        refresh_devices()
        try:
            self._start()
        except AudioError as error:
            raise AudioError(self._tell.lost(name, error)) from None
        if self._closed.is_set():  # meanwhile, by another thread
            close_stream(self._stream)
        else:
            self._tell.reopened(name, self.device.name)

    def _watch(self, block: np.ndarray) -> None:
        """Report lost sound and dead silence."""
        if self.overflows > self._told_overflows:
            self._told_overflows = self.overflows
            message = f"sound from {self.device.name!r} was lost {self.overflows} times"
            self._tell.often("overflow", self.device.name, message)
        self._zeros = 0 if block.any() else self._zeros + len(block)
        self.silent = self._zeros >= SILENT_SECONDS * self.device.sample_rate
        if self.silent and not self._told_silence:
            self._told_silence = True
            self._tell.once("silent", self.device.name, SILENT.format(self.device.name))

    def close(self) -> None:
        """Stop recording and end the iteration; returns within 2 s whatever the device does."""
        self._closed.set()
        close_stream(self._stream)

    def __enter__(self) -> Microphone:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
