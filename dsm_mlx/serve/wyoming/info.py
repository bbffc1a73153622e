"""What Wyoming's clients are told of the models."""

from __future__ import annotations

from typing import Any

from wyoming.event import Event
from wyoming.info import AsrModel, AsrProgram, Attribution, Info, TtsProgram, TtsVoice

import dsm_mlx
from dsm_mlx.serve.models import Models

NAME = "dsm-mlx"
_DEFAULT_VOICE = "default"  # of a model whose voices have no names


def info(models: Models) -> Event:
    """The answer to `describe`."""
    found = Info()
    if models.stt is not None:
        found.asr.append(
            AsrProgram(
                **_described(NAME, "Kyutai's speech to text on MLX", dsm_mlx.__version__),
                models=[
                    AsrModel(
                        **_described(models.stt.name, models.stt.name, None),
                        languages=list(models.stt.info.languages),
                    )
                ],
                supports_transcript_streaming=True,
            )
        )
    if models.tts is not None:
        languages = list(models.tts.info.languages)
        found.tts.append(
            TtsProgram(
                **_described(NAME, "Kyutai's text to speech on MLX", dsm_mlx.__version__),
                voices=[
                    TtsVoice(**_described(name, name, None), languages=languages)
                    for name in models.voices or [_DEFAULT_VOICE]
                ],
                supports_synthesize_streaming=True,
            )
        )
    return found.event()


def _described(name: str, description: str, version: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "attribution": Attribution("Kyutai", "https://kyutai.org"),
        "installed": True,
        "description": description,
        "version": version,
    }
