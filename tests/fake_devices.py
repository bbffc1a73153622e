"""A sound system that the test drives: exact, and without hardware."""

import sys
import time
import types

import numpy as np

from dsm_mlx.audio import microphone, speaker


def entry(name, inputs, outputs, rate=48_000.0):
    return {
        "name": name,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


class FakeStream:
    latency = 0.0

    def __init__(self, system, **options):
        if system.refuse:
            raise system.PortAudioError("Device unavailable")
        self.system, self.options, self.closed = system, options, False
        system.streams.append(self)

    @property
    def time(self):
        return self.system.time()

    def start(self):
        self.system.on_start(self)

    def close(self, ignore_errors=True):
        self.closed = True
        self.options["finished_callback"]()

    def record(self, samples, overflow=False):
        """Let the device deliver `samples`, the same on every channel."""
        data = np.repeat(np.asarray(samples, "f4")[:, None], self.options["channels"], axis=1)
        status = types.SimpleNamespace(input_overflow=overflow)
        self.options["callback"](data, len(data), None, status)

    def play(self, frames, when=None):
        """Let the device ask for `frames` samples; the first channel of what it gets.

        when: (the time by the device's clock, when the first of them is heard).
        """
        out = np.full((frames, self.options["channels"]), 9, "f4")
        if when is not None:
            when = types.SimpleNamespace(currentTime=when[0], outputBufferDacTime=when[1])
        self.options["callback"](out, frames, when, None)
        assert (out == out[:, :1]).all()
        return out[:, 0]


class FakeSystem(types.ModuleType):
    """Stands in for the module sounddevice."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self):
        super().__init__("sounddevice")
        self.found = [entry("Built-in Mic", 1, 0), entry("Headset", 4, 2), entry("Loud", 0, 8)]
        self.after_refresh = None
        self.default = types.SimpleNamespace(device=(0, 2))
        self.streams = []
        self.refuse = False
        self.on_start = lambda stream: None
        self.time = time.monotonic

    def query_devices(self):
        return self.found

    def InputStream(self, **options):
        return FakeStream(self, **options)

    OutputStream = InputStream

    def _terminate(self):
        pass

    def _initialize(self):
        if self.after_refresh is not None:
            self.found = self.after_refresh


def system(monkeypatch):
    """In the place of sounddevice; a device is lost after 0.2 s."""
    system = FakeSystem()
    monkeypatch.setitem(sys.modules, "sounddevice", system)
    for module in (microphone, speaker):
        monkeypatch.setattr(module, "LOST_SECONDS", 0.2)
        monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    yield system
    for stream in system.streams:
        assert stream.closed
