"""Sound in and out: files, pipes, the microphone, the speaker. All sound is float32 mono.

Nothing here knows of models; soundfile, soxr and sounddevice are imported when first used.
"""

from dsm_mlx.audio.devices import Device, list_devices
from dsm_mlx.audio.files import AudioFile, read
from dsm_mlx.audio.microphone import Microphone
from dsm_mlx.audio.pcm import read_stream
from dsm_mlx.audio.speaker import Speaker
from dsm_mlx.audio.wav import WavWriter, to_s16le

__all__ = [
    "AudioFile",
    "Device",
    "Microphone",
    "Speaker",
    "WavWriter",
    "list_devices",
    "read",
    "read_stream",
    "to_s16le",
]
