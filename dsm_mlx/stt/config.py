"""What a speech-to-text checkpoint says beside the shape of its model."""

from __future__ import annotations

from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader

_LONGEST = 60  # seconds


@dataclass(frozen=True)
class SttConfig:
    """delay: seconds by which words lag. prefix: seconds of silence that come before the sound."""

    delay: float
    prefix: float

    @classmethod
    def read(cls, raw: ConfigReader) -> SttConfig:
        """From a `config.json`."""
        section = raw.section("stt_config", {})
        return cls(
            delay=section.number("audio_delay_seconds", 0, _LONGEST, 0.5),
            prefix=section.number("audio_silence_prefix_seconds", 0, _LONGEST, 0.0),
        )
