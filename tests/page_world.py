"""What the programs of docs/ take for granted: `from page_world import *` stands before each page.

Models are `tiny`. The microphone hears somebody say demos/audio/bus.wav, and ends after 3 s of
silence; the loudspeaker plays as fast as it is given sound. `page_files` makes the files.
"""

import atexit
import sys
import threading
import time

import fake_devices
import numpy as np

import dsm_mlx
from dsm_mlx import audio

__all__ = ["result", "stt", "tts"]

BUS = "demos/audio/bus.wav"
SILENCE = 3  # seconds
BLOCK = 960  # samples, 20 ms at the devices' 48 kHz

system = sys.modules["sounddevice"] = fake_devices.FakeSystem()


class Microphone(audio.Microphone):
    """The library's own, before a device that gives everything as fast as it is heard."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        spoken = np.pad(np.repeat(audio.read(BUS), 2), (0, SILENCE * 48_000))
        self._seconds = len(spoken) / 48_000
        for block in np.split(spoken, range(BLOCK, len(spoken), BLOCK)):
            system.streams[-1].record(block)

    def __iter__(self):
        heard = 0.0
        for block in super().__iter__():
            yield block
            heard += len(block) / self.sample_rate
            if heard > self._seconds - 0.1:  # what the resampler holds is silence
                return


class Speaker(audio.Speaker):
    """The library's own, before a device that is in a hurry."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        threading.Thread(target=self._play, args=(system.streams[-1],), daemon=True).start()

    def _play(self, stream):
        while not stream.closed:
            stream.play(BLOCK)
            time.sleep(0.001)


audio.Microphone, audio.Speaker = Microphone, Speaker
stt, tts = dsm_mlx.load_stt("tiny"), dsm_mlx.load_tts("tiny")
result = stt.transcribe(BUS)


@atexit.register
def _close() -> None:
    for stream in system.streams:
        if not stream.closed:
            stream.close()
