"""Sound in and out: files, pipes, the microphone, the speaker. All sound is float32 mono.

Nothing here knows of models; soundfile, soxr and sounddevice are imported when first used.
"""

from dsm_mlx.audio.devices import Device, list_devices
from dsm_mlx.audio.encodings import ENCODINGS, RawFormat
from dsm_mlx.audio.events import DeviceEvent
from dsm_mlx.audio.microphone import Microphone
from dsm_mlx.audio.part import Part
from dsm_mlx.audio.samples import check_pcm, check_rate
from dsm_mlx.audio.sound import AudioFile, Sound, read, read_stream
from dsm_mlx.audio.speaker import Speaker
from dsm_mlx.audio.writer import SoundWriter, WavWriter, to_s16le, writable_formats

__all__ = [
    "ENCODINGS",
    "AudioFile",
    "Device",
    "DeviceEvent",
    "Microphone",
    "Part",
    "RawFormat",
    "Sound",
    "SoundWriter",
    "Speaker",
    "WavWriter",
    "check_pcm",
    "check_rate",
    "list_devices",
    "read",
    "read_stream",
    "to_s16le",
    "writable_formats",
]
