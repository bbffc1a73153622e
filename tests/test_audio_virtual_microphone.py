"""Microphone and Speaker on a real sound system: PulseAudio with a sink that nobody hears.

Skipped where PulseAudio cannot be started, unless DSM_MLX_REQUIRE_MICROPHONE=1 is set.
"""

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dsm_mlx.audio import Microphone, Speaker, WavWriter, list_devices

pytestmark = pytest.mark.usefixtures("virtual_microphone")


def tone(seconds, hertz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * hertz * np.arange(seconds * 24_000) / 24_000)).astype("f4")


class Recording:
    """What the microphone hears within the `with` block."""

    def __enter__(self):
        self.mic = Microphone()
        self.blocks = []
        self.thread = threading.Thread(target=self.record)
        self.thread.start()
        until = time.monotonic() + 10
        while not self.blocks and time.monotonic() < until:  # it may begin late
            time.sleep(0.01)
        return self

    def record(self):
        for block in self.mic:
            self.blocks.append(block)

    def __exit__(self, *_):
        time.sleep(0.3)  # the sound is still on its way
        self.mic.close()
        self.thread.join(5)
        assert not self.thread.is_alive()

    def heard(self):
        """The part that is not silent."""
        pcm = np.concatenate(self.blocks)
        loud = np.flatnonzero(np.abs(pcm) > 0.01)
        return pcm[loud[0] : loud[-1]]


def check_tone(pcm, seconds):
    """`seconds` of a tone of 440 Hz and level 0.5, without gaps."""
    # the first moments may be lost while the sound system starts
    assert seconds - 0.2 < len(pcm) / 24_000 < seconds + 0.05
    middle = pcm[2400:-2400]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert abs(spectrum.argmax() * 24_000 / len(middle) - 440) < 2
    for window in np.split(middle[: len(middle) // 600 * 600], len(middle) // 600):
        assert abs(np.sqrt(2 * np.mean(window**2)) - 0.5) < 0.03


def test_the_microphone_hears_what_is_played(tmp_path):
    with WavWriter(tmp_path / "tone.wav") as writer:
        writer.write(tone(1.5))
    with Recording() as recording:
        subprocess.run(["paplay", tmp_path / "tone.wav"], check=True, timeout=30)
    check_tone(recording.heard(), 1.5)
    assert recording.mic.overflows == 0
    assert recording.mic.device.sample_rate != 24_000


def test_the_speaker_is_heard():
    with Recording() as recording, Speaker() as speaker:
        source = tone(1.5)
        for start in range(0, len(source), 1920):
            speaker.write(source[start : start + 1920])
        began = time.monotonic()
        assert speaker.drain(timeout=10)
        assert 1.0 < time.monotonic() - began < 4
    check_tone(recording.heard(), 1.5)
    assert speaker.underruns == 0


def test_the_speaker_stops_at_once():
    with Recording() as recording, Speaker() as speaker:
        speaker.write(tone(8))
        time.sleep(0.7)
        speaker.stop()
    assert 0.2 < len(recording.heard()) / 24_000 < 1.5


def test_devices_are_listed():
    assert any(device.default_input for device in list_devices())
    assert any(device.default_output for device in list_devices())


def test_ctrl_c_ends_a_recording():
    program = """
from dsm_mlx.audio import Microphone
try:
    with Microphone() as mic:
        for block in mic:
            print("hears", flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline() == "hears\n"
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=5)
    assert out.endswith("interrupted\n")
    assert run.returncode == 0
