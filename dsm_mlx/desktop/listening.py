"""From the microphone to messages, in a thread of its own: whoever shows them never waits."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from dsm_mlx.audio.devices import Device, list_devices, refresh_devices
from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.audio.meter import FLOOR
from dsm_mlx.audio.microphone import Microphone
from dsm_mlx.errors import AudioError
from dsm_mlx.results import Event, Partial, Pause

RETRY_SECONDS = 2.0  # between two looks for a microphone in the place of one that is lost
BEST = "Best on this machine"
"""How menus call the model of a `Choice` that names none."""

logger = logging.getLogger("dsm_mlx")


@dataclass(frozen=True)
class Choice:
    """model: its name; None: the best there is. device: as of a `Microphone`. delay: in seconds."""

    model: str | None = None
    device: int | str | None = None
    delay: float | None = None


@dataclass(frozen=True)
class Devices:
    """The microphones that there are."""

    found: list[Device]


@dataclass(frozen=True)
class Loading:
    """A model is being loaded."""


@dataclass(frozen=True)
class Loaded:
    """name: of the model. delays: that it knows."""

    name: str
    delays: tuple[float, ...]


@dataclass(frozen=True)
class Listening:
    """A microphone is open. device: its name. began: the moment of `time.monotonic` at which the
    stream of events has its time 0."""

    device: str
    began: float


@dataclass(frozen=True)
class Waiting:
    """A microphone was lost, of which `message` tells; another is looked for."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """Nobody listens any more. error: why, if nobody had asked for that."""

    error: Exception | None = None


Message = Event | DeviceEvent | Devices | Loading | Loaded | Listening | Waiting | Stopped
Load = Callable[["str | None"], "tuple[str, Any]"]


class Listener:
    """Listens when it is told to, and puts what happens into the queue `messages`.

    load: a model's name -> what it is called, and what has the `stream`, `sample_rate` and `delays`
    of a `SpeechToText`. It is called in the thread that listens, and again only for another name.

    What comes of a stream is between `Listening` and `Stopped`; those of words are settled, and a
    `Partial` comes whenever the word in progress is another, empty where there is none any more.
    """

    def __init__(self, load: Load):
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._load = load
        self._model: tuple[str | None, str, Any] | None = None  # asked for, called, and it
        self._run: _Run | None = None
        self._sound = threading.Lock()  # of who opens devices, or looks for them

    @property
    def busy(self) -> bool:
        """Whether it has been told to listen, and has not stopped yet."""
        return self._run is not None and not self._run.over

    @property
    def level(self) -> float:
        """How loud the microphone is: decibels of full scale, -120 (nothing) to 0."""
        microphone = self._run and self._run.microphone
        return microphone.level if microphone else FLOOR

    def start(self, choice: Choice) -> None:
        """Begin to listen. ValueError while it listens."""
        if self.busy:
            raise ValueError("it listens already (expected stop() and its Stopped first)")
        self._run = run = _Run(choice)
        run.thread = threading.Thread(target=self._listen, args=(run,), daemon=True)
        run.thread.start()

    def stop(self) -> None:
        """Stop listening: what was heard still comes, and then `Stopped`. Returns at once."""
        if self._run:
            self._run.stop()

    def close(self, seconds: float = 1.0) -> None:
        """Stop, and wait for that, but for no longer than `seconds`."""
        if self._run:
            self._run.stop(at_once=True)
            self._run.thread.join(seconds)

    def look(self) -> None:
        """Look for microphones, and tell in `Devices`; not while one is open: then PortAudio finds
        no others."""

        def search() -> None:
            if self._sound.acquire(blocking=False):
                try:
                    self._tell_devices()
                finally:
                    self._sound.release()

        threading.Thread(target=search, daemon=True).start()

    # ---- in the thread

    def _listen(self, run: _Run) -> None:
        error: Exception | None = None
        try:
            model = self._loaded(run.choice.model)
            with self._sound:
                self._tell_devices()
                with closing(model.stream(run.choice.delay, gain="auto")) as stream:
                    _Hearing(run, model, stream, self.messages.put).hear()
        except Exception as failed:  # a thread that ended silently would seem to listen
            error = failed
            logger.debug("listening failed", exc_info=True)
        run.over = True  # first: who is told may begin again
        self.messages.put(Stopped(error))

    def _loaded(self, name: str | None) -> Any:
        if self._model is None or self._model[0] != name:
            self._model = None  # two may be more than fit in the memory
            self.messages.put(Loading())
            self._model = name, *self._load(name)
            _, called, model = self._model
            self.messages.put(Loaded(called, tuple(model.delays)))
        return self._model[2]

    def _tell_devices(self) -> None:
        try:
            refresh_devices()
            found = [device for device in list_devices() if device.inputs]
        except AudioError:  # which is told where one is to be opened
            found = []
        self.messages.put(Devices(found))


class _Run:
    """One time of listening, and its end, which anybody may ask for."""

    def __init__(self, choice: Choice):
        self.choice = choice
        self.thread: threading.Thread
        self.microphone: Microphone | None = None
        self.stopped, self.at_once, self.over = threading.Event(), False, False

    def stop(self, at_once: bool = False) -> None:
        """at_once: what was heard need not be brought out."""
        self.at_once = at_once
        self.stopped.set()
        if microphone := self.microphone:  # which may take 2 s to close
            threading.Thread(target=microphone.close, daemon=True).start()


class _Hearing:
    """A stream that is fed by one microphone after the other."""

    def __init__(self, run: _Run, model: Any, stream: Any, put: Callable[[Message], None]):
        self._run, self._rate, self._stream, self._put = run, model.sample_rate, stream, put
        self._samples = 0
        self._partial = ""

    def hear(self) -> None:
        """Until it is to stop. AudioError where there is no microphone to begin with."""
        microphone: Microphone | None = self._open(self._run.choice.device)
        while microphone:
            try:
                with microphone:
                    self._hear(microphone)
                break
            except AudioError as lost:
                microphone = self._another(lost)
        if not self._run.at_once:
            self._bring_out()

    def _open(self, device: int | str | None) -> Microphone:
        microphone = Microphone(device, self._rate, on_event=self._put)
        self._run.microphone = microphone
        if self._run.stopped.is_set():  # before it could be seen there
            microphone.close()
        self._put(Listening(microphone.device.name, time.monotonic() - self._samples / self._rate))
        return microphone

    def _hear(self, microphone: Microphone) -> None:
        for block in microphone:
            if self._run.stopped.is_set():
                return
            self._samples += len(block)
            self._tell(self._stream.feed(block))

    def _another(self, lost: AudioError) -> Microphone | None:
        """The chosen microphone once it is there again, or the system's; None: not any more."""
        self._run.microphone = None
        self._bring_out()
        self._put(Waiting(str(lost)))
        while not self._run.stopped.wait(RETRY_SECONDS):
            refresh_devices()
            for device in dict.fromkeys((self._run.choice.device, None)):
                with suppress(AudioError):
                    return self._open(device)
        return None

    def _bring_out(self) -> None:
        """All that was said so far."""
        try:
            self._tell(self._stream.flush())
        except OSError:  # a server has gone, and what it had found is to be had
            self._tell(self._stream.flush())
            raise

    def _tell(self, events: list[Event]) -> None:
        """What became known; of pauses, 12.5 a second, only those that end a turn."""
        for event in events:
            if not isinstance(event, Pause):
                self._put(event)
        if (partial := self._stream.partial_word) != self._partial:
            self._partial = partial
            self._put(Partial(partial, self._samples / self._rate))
