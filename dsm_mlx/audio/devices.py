"""Microphones and loudspeakers: finding, opening and closing them without ever hanging."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

from dsm_mlx.errors import AudioError
from dsm_mlx.messages import shown

BLOCK_SECONDS = 0.02
POLL_SECONDS = 0.1
LOST_SECONDS = 5.0  # a device is lost without a sign of life; Bluetooth may take 3 to begin
CLOSE_SECONDS = 2.0  # a lost device may never answer; its stream is then left behind
NO_PORTAUDIO = "PortAudio cannot be loaded; " + (
    "pip install --force-reinstall sounddevice (its wheel holds it) or brew install portaudio"
    if sys.platform == "darwin"
    else "Debian, Ubuntu: apt install libportaudio2; Fedora: dnf install portaudio"
)

_open_streams: set = set()


@dataclass(frozen=True)
class Device:
    """A sound device. `inputs` and `outputs` are channel counts, `sample_rate` its own, in Hz."""

    index: int
    name: str
    inputs: int
    outputs: int
    sample_rate: float
    default_input: bool
    default_output: bool


def portaudio():
    """The sounddevice module; raises `AudioError` that says how to install PortAudio."""
    try:
        import sounddevice
    except (OSError, ImportError):
        raise AudioError(NO_PORTAUDIO) from None
    return sounddevice


def list_devices() -> list[Device]:
    """All inputs and outputs, in PortAudio's order. Raises `AudioError` without PortAudio."""
    sounddevice = portaudio()
    default_input, default_output = sounddevice.default.device
    return [
        Device(
            index=index,
            name=entry["name"],
            inputs=entry["max_input_channels"],
            outputs=entry["max_output_channels"],
            sample_rate=entry["default_samplerate"],
            default_input=index == default_input,
            default_output=index == default_output,
        )
        for index, entry in enumerate(sounddevice.query_devices())
    ]


def find_device(wanted: int | str | None, kind: str) -> Device:
    """The device of `kind` ("input" or "output") with this index, or this in its name.

    None is the system's default. Raises `AudioError` for none or several that fit, with a list, and
    TypeError for what is neither a number nor a name.
    """
    if wanted is not None and (isinstance(wanted, bool) or not isinstance(wanted, (int, str))):
        raise TypeError(f"device is {shown(wanted)} (expected a number, a name or None)")
    devices = [d for d in list_devices() if (d.inputs if kind == "input" else d.outputs)]
    if not devices:
        what = "microphone" if kind == "input" else "loudspeaker"
        raise AudioError(f"this machine has no {what} (no audio {kind} device was found)")
    if wanted is None:
        default = [d for d in devices if (d.default_input, d.default_output)[kind == "output"]]
        return (default or devices)[0]
    if isinstance(wanted, int) or wanted.isdecimal():
        found = [d for d in devices if d.index == int(wanted)]
    else:
        found = [d for d in devices if d.name == wanted] or [
            d for d in devices if wanted.lower() in d.name.lower()
        ]
    if len(found) != 1:
        problem = "several fit" if found else "there is none"
        names = ", ".join(f"{d.index}: {d.name}" for d in found or devices)
        raise AudioError(f"audio {kind} device {wanted!r}: {problem} ({names})")
    return found[0]


def open_stream(kind: str, device: Device, **options):
    """Open and start a float32 sounddevice stream on `device`; raises `AudioError`."""
    sounddevice = portaudio()
    inward = kind == "input"
    make = sounddevice.InputStream if inward else sounddevice.OutputStream
    try:
        stream = make(
            device=device.index,
            samplerate=device.sample_rate,
            # two: one alone plays on the left only, and drivers offer many that carry nothing
            channels=min(device.inputs if inward else device.outputs, 2),
            blocksize=int(device.sample_rate * BLOCK_SECONDS),
            dtype="float32",
            **options,
        )
        stream.start()
    except (sounddevice.PortAudioError, ValueError) as error:
        raise AudioError(f"audio {kind} device {device.name!r} cannot be opened: {error}") from None
    _open_streams.add(stream)
    return stream


def close_stream(stream) -> None:
    """Stop at once and close, in at most `CLOSE_SECONDS` even where the device does not answer."""

    def close() -> None:
        try:
            stream.close(ignore_errors=True)
        finally:
            _open_streams.discard(stream)

    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    closer.join(CLOSE_SECONDS)


def refresh_devices() -> None:
    """Look for devices again; PortAudio only does so while no stream of this process is open."""
    if not _open_streams:
        sounddevice = portaudio()
        sounddevice._terminate()
        sounddevice._initialize()
