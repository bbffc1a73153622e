"""What Speaker says of how much has been heard, by a clock that the test sets."""

import itertools
import threading
import types

import numpy as np
import pytest
from sounds import tone

from dsm_mlx.audio import Speaker, speaker

BLOCK = 480
DEVICE_CLOCK = 5000.0  # the device's clock is ahead of ours by that
HELD = 0.1  # seconds that the device has in hand


@pytest.fixture
def clock(system, monkeypatch):
    """The time of day for the speaker: `clock.now`."""
    clock = types.SimpleNamespace(now=100.0)
    system.time = lambda: clock.now + DEVICE_CLOCK
    monkeypatch.setattr(speaker, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def player(system, clock):
    """A speaker at 24 kHz without resampling, and its stream."""
    system.found[2]["default_samplerate"] = 24_000.0
    with Speaker(prebuffer=0.0) as player:
        yield player, system.streams[0]
        player.stop()


def run(clock, stream, seconds, rate=24_000, held=HELD):
    """The device asks for sound in time, for so long."""
    for _ in range(round(seconds * rate / BLOCK)):
        ours = clock.now + DEVICE_CLOCK
        stream.play(BLOCK, when=(ours, ours + held))
        clock.now += BLOCK / rate


def test_what_waits_and_what_the_device_holds_is_not_heard(player, clock):
    player, stream = player
    assert player.progress == (0.0, 0.0)
    player.write(tone(1.0))
    assert player.progress == (0.0, 1.0)
    run(clock, stream, HELD)
    assert player.position == 0.0
    run(clock, stream, 0.5)
    assert player.position == pytest.approx(0.5)
    run(clock, stream, 0.4 + HELD)
    assert player.position == pytest.approx(1.0)
    run(clock, stream, 1.0)
    assert (player.position, player.written) == (pytest.approx(1.0), 1.0)


def test_between_the_devices_calls_the_clock_goes_on(player, clock):
    player, stream = player
    player.write(tone(1.0))
    run(clock, stream, 0.5)
    before = player.position
    for _ in range(7):
        clock.now += 0.003
        assert player.position == pytest.approx(before := before + 0.003)
    clock.now += 60  # the device never came back: what it was given is all
    assert player.position == pytest.approx(0.5)


def test_a_gap_does_not_count(player, clock):
    player, stream = player
    player.write(tone(0.2))
    run(clock, stream, 2.0)
    assert player.progress == (pytest.approx(0.2), 0.2)
    player.write(tone(0.2))
    run(clock, stream, HELD + 0.1)
    assert player.progress == (pytest.approx(0.3), 0.4)


def test_a_callback_that_waited_for_the_interpreter(player, clock):
    """Its sound is heard when the device says, not so much later."""
    player, stream = player
    player.write(tone(1.0))
    run(clock, stream, 0.4)
    asked = clock.now + DEVICE_CLOCK
    clock.now += 0.05
    stream.play(BLOCK, when=(asked, asked + HELD))
    clock.now += HELD - 0.05 + 0.01  # half of it is heard
    assert player.position == pytest.approx(0.41)


def test_the_first_callbacks_wait_as_well(player, clock):
    """How far the clocks are apart is known from the opening."""
    player, stream = player
    player.write(tone(1.0))
    for _ in range(10):
        asked = clock.now - 0.5 + DEVICE_CLOCK
        stream.play(BLOCK, when=(asked, asked + 0.5 + HELD))
        clock.now += BLOCK / 24_000
    assert player.position == pytest.approx(0.1)


def test_a_device_that_corrects_itself(player, clock):
    """It said too much of what it holds, which is over when the next sound begins."""
    player, stream = player
    player.write(tone(1.0))
    run(clock, stream, 0.1, held=0.6)
    assert player.position == 0.0
    run(clock, stream, 0.02, held=0.05)
    assert player.position == pytest.approx(0.07)
    run(clock, stream, 0.08, held=0.05)
    assert player.position == pytest.approx(0.15)


def test_a_device_without_a_clock(system, clock):
    def time():
        raise system.PortAudioError("Error getting stream time")

    system.time = time
    with Speaker() as player:
        assert player.progress == (0.0, 0.0)


@pytest.mark.parametrize("when", [None, (0.0, 0.0), (7.0, 0.0), (7.0, 700.0)])
@pytest.mark.parametrize(
    "latency, held", [(0.06, 0.06), (0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1e9, 0.0)]
)
def test_a_device_that_does_not_know(system, clock, when, latency, held):
    """The stream's latency counts then; without that, what was given is heard from then on."""
    system.found[2]["default_samplerate"] = 24_000.0
    system.on_start = lambda stream: setattr(stream, "latency", latency)
    with Speaker(prebuffer=0.0) as player:
        player.write(tone(1.0))
        for _ in range(10):
            system.streams[0].play(BLOCK, when=when)
            clock.now += BLOCK / 24_000
        assert player.position == pytest.approx(0.2 - held)
        player.stop()


def test_stop_says_how_much_was_heard_and_begins_again(player, clock):
    player, stream = player
    player.write(tone(1.0))
    run(clock, stream, 0.5)
    assert player.position == pytest.approx(0.4)
    assert player.stop() == pytest.approx(0.5)  # with what the device still holds, and plays
    assert player.progress == (0.0, 0.0)
    assert player.stop() == 0.0
    player.write(tone(0.3))
    clock.now += HELD / 2
    assert player.progress == (0.0, 0.3)  # what sounds now is of before
    run(clock, stream, HELD + 0.2)
    assert player.position == pytest.approx(0.2)


@pytest.mark.parametrize("rate", [44_100.0, 48_000.0, 16_000.0])
def test_at_the_devices_rate_times_are_the_callers(system, clock, rate):
    system.found[2]["default_samplerate"] = rate
    with Speaker(prebuffer=0.0) as player:
        stream = system.streams[0]
        for start in range(0, 24_000, 1920):
            player.write(tone(1.0)[start : start + 1920])
        assert player.written == 1.0
        run(clock, stream, 0.5, rate)
        assert player.position == pytest.approx(0.4, abs=0.011)  # a block
        run(clock, stream, 1.0, rate)
        assert 0.9 < player.position < 1.0  # the resampler still has the rest
        assert player.drain(timeout=0) is False
        run(clock, stream, 0.3, rate)
        assert player.drain(timeout=0) is True
        assert player.progress == (1.0, 1.0)


def test_after_drain_all_is_heard_to_the_sample(system, clock):
    """Utterances of odd lengths, at a rate that does not divide: nothing adds up."""
    system.found[2]["default_samplerate"] = 44_100.0
    with Speaker(prebuffer=0.0) as player:
        samples = 0
        for length in (1, 777, 1001, 12_345, 13):
            player.write(np.ones(length, "f4"))
            samples += length
            assert player.drain(timeout=0) is False
            run(clock, system.streams[0], length / 24_000 + HELD + 0.02, 44_100)
            assert player.drain(timeout=0) is True
            assert player.progress == (samples / 24_000,) * 2


def test_drain_waits_for_what_the_device_holds(player, clock):
    player, stream = player
    player.write(tone(0.1))
    player.drain(timeout=0)
    run(clock, stream, 0.1)
    assert player.drain(timeout=0) is False
    clock.now += 0.09
    assert player.drain(timeout=0) is False
    clock.now += 0.02
    assert player.drain(timeout=0) is True


def test_it_never_goes_back_nor_beyond_what_was_written(player, clock):
    """Looked at by one thread while another writes and a third one is the device's."""
    player, stream = player
    done = threading.Event()

    def write():
        for _ in range(300):
            player.write(tone(0.011))
        done.set()

    def play():
        for i in itertools.count():
            if done.is_set():
                break
            now = clock.now + DEVICE_CLOCK
            stream.play(BLOCK, when=(now, now + 0.02 * (i % 3)))  # it is not sure
            clock.now += BLOCK / 24_000

    threads = [threading.Thread(target=work) for work in (write, play)]
    for thread in threads:
        thread.start()
    last = 0.0
    while not done.is_set():
        position, written = player.progress
        assert last <= position <= written
        last = position
    for thread in threads:
        thread.join()
    player.drain(timeout=0)
    run(clock, stream, 4.0)
    assert player.progress == (player.written,) * 2 == (pytest.approx(3.3),) * 2
    assert not player._playout._held  # and nothing piles up
