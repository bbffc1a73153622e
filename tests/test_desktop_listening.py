"""From a microphone to messages: what is told, and that a lost microphone loses nothing."""

import threading
import time

import numpy as np
import pytest
from commands import wait_for
from fake_devices import entry

from dsm_mlx import AudioError, EndOfTurn, Partial, Pause, Word
from dsm_mlx.audio import microphone
from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.desktop import listening
from dsm_mlx.desktop.listening import (
    Choice,
    Devices,
    Listener,
    Listening,
    Loaded,
    Loading,
    Stopped,
    Waiting,
)

BLOCK = np.full(4800, 0.1, "f4")  # 0.1 s of the fake devices' rate


class Stream:
    """Hears a word in each second of sound, whose first half is there when half of it is."""

    def __init__(self, broken=None):
        self.samples, self.told, self.closed, self.broken = 0, 0, False, broken
        self.partial_word = ""

    def feed(self, pcm):
        if self.broken:
            raise self.broken
        self.samples += len(pcm)
        seconds, rest = divmod(self.samples, 24_000)
        self.partial_word = "wo" if rest >= 12_000 else ""
        found = [Word(f"word{i}", i, i + 0.5) for i in range(self.told, seconds)]
        self.told = seconds
        return [*found, Pause(self.samples / 24_000, {0.5: 0.0})]

    def flush(self):
        self.partial_word = ""
        return [Word("rest", self.samples / 24_000, self.samples / 24_000), EndOfTurn(1.0)]

    def close(self):
        self.closed = True


class Model:
    sample_rate = 24_000
    delays = (0.5, 2.5)

    def __init__(self):
        self.streams, self.asked, self.broken = [], [], None

    def stream(self, delay, gain):
        self.asked.append((delay, gain))
        self.streams.append(Stream(self.broken))
        return self.streams[-1]


@pytest.fixture
def listener(system, monkeypatch):
    """With the model that it loads, and what it told so far: `.model`, `.loaded`, `.told`."""
    monkeypatch.setattr(listening, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(microphone, "LOST_SECONDS", 60)  # one is lost when it says so
    model = Model()
    loaded = []

    def load(name):
        loaded.append(name)
        if name == "broken":
            raise ValueError("model 'broken': no such folder")
        return f"the {name}", model

    listener = Listener(load)
    listener.model, listener.loaded, listener.told = model, loaded, []
    yield listener
    listener.close()


def told(listener, kind, count=1):
    """All that was told of a kind, once there are so many."""

    def found():
        while not listener.messages.empty():
            listener.told.append(listener.messages.get())
        return [message for message in listener.told if isinstance(message, kind)]

    wait_for(lambda: len(found()) >= count, 20)
    return found()


def record(system, seconds):
    """Let the newest device hear something, as its own thread does."""
    for _ in range(round(10 * seconds)):
        system.streams[-1].record(BLOCK)


def test_what_is_heard_is_told_in_order(listener, system):
    assert not listener.busy and listener.level == -120.0
    listener.start(Choice("small", None, 0.5))
    assert listener.busy
    told(listener, Listening)
    record(system, 1.7)
    words = told(listener, Word)
    assert [word.text for word in words] == ["word0"]
    wait_for(lambda: told(listener, Partial)[-1].text == "wo")
    assert listener.level == pytest.approx(-20, abs=0.1)
    listener.stop()
    assert told(listener, Stopped) == [Stopped()] and not listener.busy
    kinds = [type(message) for message in listener.told if not isinstance(message, Partial)]
    assert kinds == [Loading, Loaded, Devices, Listening, Word, Word, EndOfTurn, Stopped]
    assert told(listener, Loaded) == [Loaded("the small", (0.5, 2.5))]
    assert [device.name for device in told(listener, Devices)[0].found] == [
        "Built-in Mic", "Headset",
    ]  # fmt: skip
    assert told(listener, Partial)[-1].text == ""  # taken back by the flush
    assert listener.model.asked == [(0.5, "auto")] and listener.model.streams[0].closed


def test_a_model_is_loaded_once_until_another_is_wanted(listener):
    for count, name in enumerate(["a", "a", "b"], 1):
        listener.start(Choice(name))
        told(listener, Listening, count)
        listener.stop()
        told(listener, Stopped, count)
    assert listener.loaded == ["a", "b"]


def test_it_listens_once_at_a_time(listener):
    listener.start(Choice())
    with pytest.raises(ValueError, match="listens already"):
        listener.start(Choice())


@pytest.mark.parametrize("model, device, part", [
    ("broken", None, "no such folder"), ("a", "nobody's", "nobody's"),
])  # fmt: skip
def test_what_cannot_be_had_is_told_at_the_end(listener, model, device, part):
    listener.start(Choice(model, device))
    (stopped,) = told(listener, Stopped)
    assert part in str(stopped.error) and not listener.busy


def test_a_fault_of_the_programs_is_told_as_well(listener):
    listener.model.broken = KeyError("what")
    listener.start(Choice("a"))
    told(listener, Listening)
    record(listening_system(listener), 0.1)
    (stopped,) = told(listener, Stopped)
    assert isinstance(stopped.error, KeyError)


def listening_system(listener):
    """The fake sound system, from the microphone that it opened."""
    return listener._run.microphone._stream.system


def test_another_microphone_takes_the_place_of_a_lost_one(listener, system):
    """Its words come out, and the times of what follows fit the clock."""
    listener.start(Choice("a", "Headset"))
    told(listener, Listening)
    record(system, 1.2)
    told(listener, Word)
    system.after_refresh = []  # it is unplugged, and there is no other
    system.streams[-1].close()
    (waiting,) = told(listener, Waiting)
    assert "Headset" in waiting.message and "lost" in waiting.message
    assert [event.kind for event in told(listener, DeviceEvent)] == ["stopped", "lost"]
    assert [word.text for word in told(listener, Word)] == ["word0", "rest"]
    assert listener.level == -120.0
    heard = listener.model.streams[0].samples / 24_000
    system.after_refresh = [entry("Built-in Mic", 1, 0)]
    first, second = told(listener, Listening, 2)
    assert (first.device, second.device) == ("Headset", "Built-in Mic")
    record(system, 1.2)
    assert [word.text for word in told(listener, Word, 3)] == ["word0", "rest", "word1"]
    assert first.began < second.began + heard < time.monotonic()  # with the time without any
    listener.stop()
    assert told(listener, Stopped) == [Stopped()]
    assert len(listener.model.streams) == 1


def test_who_waits_for_a_microphone_can_be_stopped(listener, system):
    listener.start(Choice("a"))
    told(listener, Listening)
    system.after_refresh = []
    system.streams[-1].close()
    told(listener, Waiting)
    listener.stop()
    assert told(listener, Stopped) == [Stopped()]


def test_a_server_that_goes_gives_what_it_had_found(listener, system):
    listener.start(Choice("a"))
    told(listener, Listening)
    flush, failed = listener.model.streams[0].flush, []

    def once():
        if not failed:
            failed.append(True)
            raise OSError("the server has gone")
        return flush()

    listener.model.streams[0].flush = once
    listener.stop()
    (stopped,) = told(listener, Stopped)
    assert str(stopped.error) == "the server has gone"
    assert [word.text for word in told(listener, Word)] == ["rest"]


def test_closing_waits_for_no_words(listener):
    listener.start(Choice("a"))
    told(listener, Listening)
    listener.close()
    assert told(listener, Stopped) == [Stopped()]
    assert not [message for message in listener.told if isinstance(message, Word)]


def test_closing_does_not_wait_for_a_model_that_is_being_loaded():
    loading, go_on = threading.Event(), threading.Event()

    def load(name):
        loading.set()
        go_on.wait(60)
        raise AudioError("too late")

    listener = Listener(load)
    listener.start(Choice())
    loading.wait(60)
    listener.close(seconds=0.01)
    assert listener.busy
    go_on.set()
    told_last = listener.messages
    wait_for(lambda: not listener.busy)
    assert isinstance(told_last.get(), Loading)


def test_microphones_are_looked_for_while_none_is_open(listener, system):
    listener.look()
    (devices,) = told(listener, Devices)
    assert [device.name for device in devices.found] == ["Built-in Mic", "Headset"]
    system.after_refresh = [entry("Another", 1, 0)]
    listener.look()
    assert told(listener, Devices, 2)[-1].found[0].name == "Another"
    listener.start(Choice("a"))
    told(listener, Listening)
    count = len(told(listener, Devices))
    listener.look()
    record(system, 1.2)
    told(listener, Word)
    assert len(told(listener, Devices)) == count
