"""What is told of microphones and loudspeakers: events, and the level of a microphone."""

import threading
import time

import numpy as np
import pytest
from fake_devices import entry
from sounds import tone

from dsm_mlx.audio import DeviceEvent, Microphone, Speaker, meter, microphone
from dsm_mlx.errors import AudioError


@pytest.fixture
def told():
    return []


def kinds(told):
    return [event.kind for event in told]


def test_only_a_function_can_be_told(system):
    for kind in (Microphone, Speaker):
        with pytest.raises(TypeError, match=r"on_event is 5 .expected a function or None"):
            kind(on_event=5)
    assert system.streams == []


# ---- microphone


def test_lost_sound_and_silence_are_told(system, told):
    with Microphone(on_event=told.append) as mic:
        for _ in range(microphone.QUEUE_BLOCKS + 2):
            system.streams[0].record(np.zeros(960))
        blocks = iter(mic)
        next(blocks)
        system.streams[0].record(np.zeros(960), overflow=True)
        for _ in range(200):
            next(blocks)
    assert kinds(told) == ["overflow", "overflow", "silent"]
    assert told[1] == DeviceEvent(
        "overflow", "Built-in Mic", "sound from 'Built-in Mic' was lost 3 times"
    )
    assert "only silence arrives from 'Built-in Mic'" in told[2].message


def test_a_microphone_that_is_opened_again(system, told):
    with Microphone("Headset", 48_000, on_event=told.append) as mic:
        system.on_start = lambda stream: stream.record(np.ones(960))
        system.streams[0].options["finished_callback"]()
        next(iter(mic))
    assert [(event.kind, event.device) for event in told] == [
        ("stopped", "Headset"),
        ("reopened", "Headset"),
    ]


def test_another_default_microphone(system, told, caplog):
    threads = []

    def on_event(event):
        threads.append(threading.current_thread())
        told.append(event)

    with Microphone(None, 48_000, on_event=on_event) as mic:
        system.on_start = lambda stream: stream.record(np.ones(960))
        system.after_refresh = [entry("Desk", 1, 0), entry("Loud", 0, 2)]
        system.streams[0].options["finished_callback"]()
        next(iter(mic))
    said = "the microphone is now 'Desk', not 'Built-in Mic'"
    assert told[1:] == [DeviceEvent("changed", "Desk", said)]
    assert said in caplog.text
    assert set(threads) == {threading.current_thread()}


@pytest.mark.parametrize("goes_away", [True, False])
def test_a_microphone_that_is_lost(system, told, goes_away):
    """Told once, with the words of the error."""
    system.after_refresh = [] if goes_away else None
    with Microphone(on_event=told.append) as mic, pytest.raises(AudioError, match="lost") as error:
        next(iter(mic))
    assert kinds(told) == ["stopped", *([] if goes_away else ["reopened"]), "lost"]
    assert (told[-1].device, told[-1].message) == ("Built-in Mic", str(error.value))


def test_an_error_in_on_event_does_no_harm(system, caplog):
    def on_event(event):
        raise RuntimeError("theirs")

    with Microphone(on_event=on_event, sample_rate=48_000) as mic:
        system.streams[0].record(np.ones(960), overflow=True)
        assert len(next(iter(mic))) == 960
    assert "on_event failed" in caplog.text and "theirs" in caplog.text


# ---- level


def test_the_level_of_a_microphone(system):
    with Microphone() as mic:
        stream = system.streams[0]
        assert (mic.level, mic.peak) == (-120.0, -120.0)
        square = np.tile(np.array([0.1, -0.1], "f4"), 480)
        for _ in range(5):
            stream.record(square)
        assert (mic.level, mic.peak) == (pytest.approx(-20), pytest.approx(-20))
        stream.record(tone(0.02, 48_000, 1000.0, 1.0))
        # one of five blocks has a mean square of a half
        assert mic.level == pytest.approx(10 * np.log10((4 * 0.01 + 0.5) / 5), abs=0.01)
        assert mic.peak == pytest.approx(0.0, abs=0.01)
        for _ in range(5):
            stream.record(np.zeros(960))
        assert (mic.level, mic.peak) == (-120.0, -120.0)


def test_the_level_is_of_the_loudest_channel_and_of_any_blocks():
    level = meter.Meter(48_000)
    block = np.zeros((333, 2), "f4")
    block[:, 1] = 0.5
    for _ in range(30):
        level(block)
    assert level.level == level.peak == pytest.approx(-6.02, abs=0.01)
    level(np.zeros((0, 2), "f4"))
    assert level.peak == pytest.approx(-6.02, abs=0.01)
    level(np.zeros((48_000, 2), "f4"))
    assert level.level == level.peak == -120.0


def test_samples_that_are_no_numbers_are_no_level():
    level = meter.Meter(48_000)
    level(np.full((960, 1), np.nan, "f4"))
    assert (level.level, level.peak) == (-120.0, -120.0)


def test_a_device_that_gives_nothing_has_no_level(monkeypatch):
    level = meter.Meter(48_000)
    level(np.ones((960, 1), "f4"))
    assert level.level == 0.0
    later = time.monotonic() + 1
    monkeypatch.setattr(meter.time, "monotonic", lambda: later)
    assert (level.level, level.peak) == (-120.0, -120.0)


# ---- loudspeaker


def test_underruns_are_told(system, told):
    system.found[2]["default_samplerate"] = 24_000.0
    with Speaker(prebuffer=0.1, on_event=told.append) as player:
        for _ in range(3):
            player.write(tone(0.1))
            system.streams[0].play(3000)
        player.stop()
    assert kinds(told) == ["underrun", "underrun"]
    assert told[1].message == "playback fell behind 2 times: sound came too late"


def stop_device(system):
    """The stream that is open ends, as it does for a headset that is taken away."""
    system.streams[-1].options["finished_callback"]()


@pytest.mark.parametrize("rate", [24_000.0, 48_000.0])
def test_a_loudspeaker_is_opened_again_and_plays_on(system, told, rate):
    """Nothing of what waited is lost, and nothing is played twice, at another rate as well."""
    system.found[2]["default_samplerate"] = 24_000.0
    source = tone(2.0)
    with Speaker(prebuffer=0.0, on_event=told.append) as player:
        player.write(source[:24_000])
        played = system.streams[0].play(12_000)
        np.testing.assert_array_equal(played, source[:12_000])
        system.after_refresh = [entry("Other" if rate == 48_000 else "Loud", 0, 2, rate)]
        stop_device(system)
        player.write(source[24_000:])
        system.streams[0].play(480)  # it awakes, and gets nothing of it
        player.drain(timeout=0)
        rest = system.streams[1].play(int(1.5 * rate) + 480)
        expected = tone(2.0, int(rate))[int(0.5 * rate) :]
        # where the rates meet there is a seam
        same = np.abs(rest[: len(expected)] - expected) < 1e-3
        assert same.mean() > 0.99 and not rest[len(expected) :].any()
        assert player.written == player.stop() == 2.0
    assert kinds(told) == ["stopped", "changed" if rate == 48_000 else "reopened"]
    assert player.device.sample_rate == rate


def test_a_loudspeaker_that_stops_while_it_drains(system, told):
    def play(stream):
        thread = threading.Thread(target=stream.play, args=(48_000,))
        thread.start()
        threads.append(thread)

    threads = []
    with Speaker(on_event=told.append) as player:
        player.write(tone(0.1))
        system.on_start = play
        stop_device(system)
        assert player.drain(timeout=10) is True
        assert player.position == player.written == 0.1
    threads[0].join()
    assert kinds(told) == ["stopped", "reopened"]


def test_a_loudspeaker_that_goes_away(system, told):
    with Speaker(on_event=told.append) as player:
        player.write(tone(0.1))
        system.after_refresh = []
        stop_device(system)
        for use in (player.drain, lambda: player.write(tone(0.1))):
            with pytest.raises(AudioError, match="'Loud' is lost: this machine has no loudsp"):
                use()
        assert player.progress == (0.0, 0.1)
        player.stop()
    assert kinds(told) == ["stopped", "lost"]


def test_closing_while_it_is_opened_again(system, told):
    with Speaker(on_event=told.append) as player:
        player.write(tone(0.1))
        system.on_start = lambda stream: player.close()
        stop_device(system)
        assert player.drain() is True
    assert kinds(told) == ["stopped"]
    assert [stream.closed for stream in system.streams] == [True, True]
