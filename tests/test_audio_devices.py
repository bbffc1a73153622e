"""Microphone and Speaker on a sound system that the test drives: exact, and without hardware."""

import logging
import sys
import threading
import time

import numpy as np
import pytest
from fake_devices import entry

from dsm_mlx.audio import Microphone, Speaker, list_devices, microphone
from dsm_mlx.audio.devices import find_device
from dsm_mlx.errors import AudioError

# ---- devices


def test_list_devices(system):
    mic, headset, loud = list_devices()
    assert (mic.name, mic.inputs, mic.outputs, mic.sample_rate) == ("Built-in Mic", 1, 0, 48_000)
    assert (mic.default_input, mic.default_output) == (True, False)
    assert (headset.default_input, headset.default_output) == (False, False)
    assert (loud.default_input, loud.default_output) == (False, True)


@pytest.mark.parametrize(
    ("wanted", "index"), [(None, 0), (1, 1), ("1", 1), ("head", 1), ("mic", 0)]
)
def test_a_device_is_chosen_by_index_or_name(system, wanted, index):
    with Microphone(wanted) as mic:
        assert mic.device.index == index
    assert system.streams[0].options["device"] == index


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (2, "2: there is none"),
        ("Loud", "'Loud': there is none"),
        ("t", r"several fit \(0: Built-in Mic, 1: Headset\)"),
    ],
)
def test_a_device_that_is_not_there(system, wanted, problem):
    with pytest.raises(AudioError, match=problem):
        Microphone(wanted)


def test_a_device_that_is_no_number_and_no_name(system):
    for wanted in (1.0, True, ["usb"]):
        with pytest.raises(TypeError, match="expected a number, a name or None"):
            find_device(wanted, "input")


def test_no_device_at_all(system):
    system.found = []
    with pytest.raises(AudioError, match="this machine has no microphone"):
        Microphone()
    with pytest.raises(AudioError, match="this machine has no loudspeaker"):
        Speaker()


def test_a_device_that_does_not_open(system):
    system.refuse = True
    with pytest.raises(AudioError, match="input device 'Built-in Mic' cannot be opened: Device un"):
        Microphone()
    with pytest.raises(AudioError, match="output device 'Loud' cannot be opened: Device un"):
        Speaker()


def test_portaudio_is_missing(monkeypatch):
    class Loader:
        def find_spec(self, name, *_):
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Loader(), *sys.meta_path])
    way = "brew install portaudio" if sys.platform == "darwin" else "apt install libportaudio2"
    for use in (list_devices, Microphone, Speaker):
        with pytest.raises(AudioError, match=f"PortAudio cannot be loaded.*{way}"):
            use()


# ---- microphone


def tone(samples, rate=24_000):
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(samples) / rate)).astype("f4")


def test_a_device_runs_at_its_own_rate_and_is_resampled(system):
    source = tone(48_000, 48_000)
    with Microphone("Headset") as mic:
        options = system.streams[0].options
        assert (options["samplerate"], options["channels"]) == (48_000, 2)
        for start in range(0, 48_000, 960):
            system.streams[0].record(source[start : start + 960])
        blocks, have = [], 0
        for block in mic:
            blocks.append(block)
            have += len(block)
            if have >= 22_000:
                break
    pcm = np.concatenate(blocks)
    assert pcm.dtype == np.float32
    np.testing.assert_allclose(pcm[500:], tone(len(pcm))[500:], atol=1e-3)


def test_lost_sound_is_counted_and_reported(system, caplog):
    with Microphone() as mic:
        stream = system.streams[0]
        for _ in range(microphone.QUEUE_BLOCKS + 3):
            stream.record(np.ones(960))
        stream.record(np.ones(960), overflow=True)
        blocks = iter(mic)
        for _ in range(20):
            next(blocks)
    assert mic.overflows == 5  # four blocks found no place, and PortAudio lost one before
    assert [record.message for record in caplog.records] == [
        "sound from 'Built-in Mic' was lost 5 times"
    ]


def test_dead_silence_is_reported_once(system, caplog):
    with Microphone(sample_rate=48_000) as mic:
        blocks = iter(mic)
        for second in range(5):
            for _ in range(50):
                system.streams[0].record(np.zeros(960))
                next(blocks)
            assert mic.silent == (second >= 1)
        system.streams[0].record(np.full(960, 1e-5))
        next(blocks)
        assert not mic.silent
    assert len(caplog.records) == 1
    assert "only silence arrives from 'Built-in Mic'" in caplog.text
    assert "Privacy & Security > Microphone" in caplog.text


def test_a_headset_that_changes_its_format_is_opened_again(system, caplog):
    def deliver(stream):
        rate = stream.options["samplerate"]
        for _ in range(50):
            stream.record(tone(int(rate // 50), rate))
        if rate == 48_000:
            stream.options["finished_callback"]()

    system.on_start = deliver
    system.after_refresh = [entry("Headset", 1, 1, 16_000.0), entry("Built-in Mic", 1, 0)]
    with Microphone("headset") as mic:
        have = 0
        for block in mic:
            have += len(block)
            if have > 46_000:
                break
        assert mic.device.sample_rate == 16_000
        assert [stream.closed for stream in system.streams] == [True, False]
    assert "'Headset' stopped; opening it again" in caplog.text


def test_a_device_that_goes_away(system):
    system.after_refresh = []
    with Microphone() as mic:
        system.streams[0].options["finished_callback"]()
        with pytest.raises(AudioError, match="'Built-in Mic' is lost: this machine has no micro"):
            next(iter(mic))


def test_a_device_that_falls_silent_without_a_word(system):
    with Microphone() as mic, pytest.raises(AudioError, match="is lost: no sound arrives"):
        next(iter(mic))
    assert len(system.streams) == 2


def test_closing_ends_the_iteration_in_another_thread(system, monkeypatch):
    monkeypatch.setattr(microphone, "LOST_SECONDS", 60)
    mic = Microphone()
    thread = threading.Thread(target=lambda: list(mic))
    thread.start()
    mic.close()
    thread.join(2)
    assert not thread.is_alive()
    assert len(system.streams) == 1


def test_closing_does_not_wait_for_a_device_that_hangs(system, monkeypatch):
    monkeypatch.setattr("dsm_mlx.audio.devices.CLOSE_SECONDS", 0.1)
    mic = Microphone()
    answer = threading.Event()
    close = system.streams[0].close
    system.streams[0].close = lambda ignore_errors: (answer.wait(10), close())
    began = time.monotonic()
    mic.close()
    assert time.monotonic() - began < 2
    answer.set()
    while not system.streams[0].closed:
        time.sleep(0.01)


# ---- speaker


@pytest.fixture
def player(system):
    """A speaker at 24 kHz without resampling, and its stream."""
    system.found[2]["default_samplerate"] = 24_000.0
    with Speaker(prebuffer=0.1) as player:
        yield player, system.streams[0]
        player.stop()


def test_playback_starts_with_the_prebuffer_and_is_exact(player):
    player, stream = player
    source = tone(4000)
    player.write(source[:2000])
    assert not stream.play(500).any()
    player.write(source[2000:])
    played = np.concatenate([stream.play(300) for _ in range(14)])
    np.testing.assert_array_equal(played[:4000], source)
    assert not played[4000:].any()


def test_a_late_chunk_is_an_underrun(player, caplog):
    player, stream = player
    player.write(tone(2400))
    assert stream.play(3000).any()
    assert player.underruns == 0
    player.write(tone(1000))
    assert player.underruns == 1
    assert "playback fell behind 1 times" in caplog.text
    assert not stream.play(100).any()  # waits for a new prebuffer
    player.write(tone(1400))
    assert stream.play(2400).any()


def pump(stream, until):
    """Play in another thread, as a device does, until `until` is set."""

    def run():
        while not until.is_set():
            stream.play(480)
            time.sleep(0.001)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_drain_plays_what_is_shorter_than_the_prebuffer(player):
    player, stream = player
    done = threading.Event()
    player.write(tone(100))
    assert player.drain(timeout=0) is False
    thread = pump(stream, done)
    assert player.drain(timeout=10) is True
    player.write(tone(100))  # a second utterance is not late
    assert player.drain(timeout=10) is True
    done.set()
    thread.join()
    assert player.underruns == 0


def test_stop_is_silent_at_once_and_frees_a_writer(player):
    player, stream = player
    writer = threading.Thread(target=player.write, args=(np.ones(24_000 * 60, "f4"),))
    writer.start()
    while not stream.play(100).any() or player._waiting < player._capacity:
        time.sleep(0.001)
    player.stop()
    assert not stream.play(480).any()
    writer.join(5)
    assert not writer.is_alive()
    assert player.drain(timeout=0) is True
    player.write(tone(2400))
    assert stream.play(480).any()
    assert player.underruns == 0


def test_sound_is_resampled_to_the_devices_rate(system):
    with Speaker("Headset", 24_000, prebuffer=0) as player:
        stream = system.streams[0]
        for start in range(0, 24_000, 1920):
            player.write(tone(24_000)[start : start + 1920])
        assert player.drain(timeout=0) is False
        played = stream.play(50_000)
        np.testing.assert_allclose(played[500:47_500], tone(48_000, 48_000)[500:47_500], atol=1e-3)
        assert not played[48_000:].any()
        player.stop()


def test_a_lost_loudspeaker(system, player):
    player, _ = player
    player.write(tone(2400))
    with pytest.raises(AudioError, match="the loudspeaker 'Loud' is lost: it takes no sound"):
        player.drain()  # the device never asks for sound
    assert len(system.streams) == 2
    with pytest.raises(AudioError, match="the loudspeaker 'Loud' is lost: it takes no sound"):
        player.write(tone(2400))
    assert len(system.streams) == 2


def test_a_loudspeaker_that_was_closed(system):
    player = Speaker()
    player.close()
    with pytest.raises(AudioError, match="the loudspeaker 'Loud' is closed: it plays no more"):
        player.write(tone(2400))
    assert player.drain()
    assert len(system.streams) == 1


@pytest.mark.parametrize(
    "chunk, error, said",
    [
        (np.zeros((2, 2)), ValueError, r"shape \(2, 2\)"),
        (np.array([np.nan]), AudioError, "sound to play: NaN"),
        (np.array([3e4]), AudioError, "sound to play: samples reach 3e"),
    ],
)
def test_what_cannot_be_played(player, chunk, error, said):
    with pytest.raises(error, match=said):
        player[0].write(chunk)


def test_an_error_drops_what_is_left(system):
    with pytest.raises(RuntimeError), Speaker() as player:
        player.write(tone(24_000))
        raise RuntimeError  # draining would wait, as nothing plays


def test_warnings_are_rate_limited(player, caplog):
    player, stream = player
    caplog.set_level(logging.WARNING)
    for _ in range(5):
        player.write(tone(2400))
        stream.play(3000)
    assert player.underruns == 4
    assert len(caplog.records) == 1
