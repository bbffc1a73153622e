"""What befalls a microphone or a loudspeaker: told on the log, and to the program that wants it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dsm_mlx.messages import shown

logger = logging.getLogger("dsm_mlx")

Kind = Literal["stopped", "reopened", "changed", "lost", "overflow", "underrun", "silent"]


@dataclass(frozen=True)
class DeviceEvent:
    """Something happened to a sound device, whose name is `device`; `message` says it in words.

    `kind` is one of these:

    - "stopped": the device gives or takes no more sound, and is being opened again.
    - "reopened": it has been opened again, and the sound goes on.
    - "changed": another device was opened in its place, as when the default has become another.
    - "lost": that failed; `AudioError` is raised where the device is used.
    - "overflow": sound of a microphone was lost, because nobody took it in time.
    - "underrun": a gap was heard from a loudspeaker, because its sound came too late.
    - "silent": only zeros have come from a microphone for 2 s; told once.
    """

    kind: Kind
    device: str
    message: str


class Teller:
    """Tells of what happens to a `what` ("microphone" or "loudspeaker").

    Everything goes to the `dsm_mlx` logger, what may happen often every 5 s at most, and all of it
    to `on_event`, in the thread that calls. What `on_event` raises is logged and goes no further.
    Raises TypeError for an `on_event` that cannot be called.
    """

    def __init__(self, what: str, on_event: Callable[[DeviceEvent], object] | None) -> None:
        if on_event is not None and not callable(on_event):
            raise TypeError(f"on_event is {shown(on_event)} (expected a function or None)")
        self._what, self._on_event = what, on_event
        self._notice = Notice()

    def often(self, kind: Kind, device: str, message: str) -> None:
        """Of what may happen many times a second."""
        self._notice(message)
        self._give(kind, device, message)

    def once(self, kind: Kind, device: str, message: str) -> None:
        """Of what is worth a warning whenever it happens."""
        logger.warning(message)
        self._give(kind, device, message)

    def stopped(self, device: str) -> None:
        """A device stopped, and will be opened again."""
        self.once("stopped", device, f"the {self._what} {device!r} stopped; opening it again")

    def reopened(self, before: str, device: str) -> None:
        """The device that is open now, after `before` had stopped."""
        if device == before:
            message = f"the {self._what} {device!r} is open again"
            logger.info(message)
            self._give("reopened", device, message)
        else:
            self.once("changed", device, f"the {self._what} is now {device!r}, not {before!r}")

    def lost(self, device: str, why: object) -> str:
        """What to raise for a device that is lost; it is not logged as well."""
        message = f"the {self._what} {device!r} is lost: {why}"
        self._give("lost", device, message)
        return message

    def _give(self, kind: Kind, device: str, message: str) -> None:
        if self._on_event is None:
            return
        try:
            self._on_event(DeviceEvent(kind, device, message))
        except Exception:  # theirs: the sound goes on
            logger.warning("on_event failed (%s)", message, exc_info=True)


class Notice:
    """A warning on the `dsm_mlx` logger for something that may happen often: every 5 s at most."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._next = 0.0

    def __call__(self, message: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            logger.warning(message)
