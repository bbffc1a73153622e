"""What a speech-to-text checkpoint says beside the shape of its model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader

_LONGEST = 60  # seconds


@dataclass(frozen=True)
class SttConfig:
    """delay: seconds by which words lag. prefix: seconds of silence that come before the sound.

    languages: as two letters, from the config or else from the tokenizer's name.
    """

    delay: float
    prefix: float
    languages: tuple[str, ...]

    @classmethod
    def read(cls, raw: ConfigReader) -> SttConfig:
        """From a `config.json`."""
        section = raw.section("stt_config", {})
        languages = section.strings("languages", 1000, []) or _named(
            raw.get("tokenizer_name", str, "")
        )
        return cls(
            delay=section.number("audio_delay_seconds", 0, _LONGEST, 0.5),
            prefix=section.number("audio_silence_prefix_seconds", 0, _LONGEST, 0.0),
            languages=tuple(languages),
        )


def _named(tokenizer: str) -> list[str]:
    """As in tokenizer_en_fr_audio_8000.model."""
    end = tokenizer[-200:]  # a search through a name without end would take as long
    match = re.search(r"_((?:[a-z]{2}_)+)audio", end)
    return match[1].strip("_").split("_") if match else ["en"]
