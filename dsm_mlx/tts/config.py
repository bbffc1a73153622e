"""What a text-to-speech checkpoint says beside the shape of its model."""

from __future__ import annotations

from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm.conditioning import ConditionersConfig

_LONGEST_DELAY = 60  # seconds
_MOST_AHEAD, _MOST_SPEAKERS = 64, 32
_QUALITY = "ok"  # what a model with a `control` conditioner is always told


@dataclass(frozen=True)
class TtsConfig:
    """How a model is made to speak.

    audio_delay: seconds by which sound lags text. second_stream_ahead: how many words ahead the
    second text stream looks, 0 without one. max_speakers: slots for voices.
    temperature: to sample with unless told otherwise. guidance: the checkpoint's own coefficient;
    None where it names none.
    """

    audio_delay: float
    second_stream_ahead: int
    max_speakers: int
    temperature: float
    guidance: float | None

    @classmethod
    def read(cls, raw: ConfigReader) -> TtsConfig:
        """From a `config.json`."""
        tts, sampling = raw.section("tts_config", {}), raw.section("lm_gen_config", {})
        ahead = tts.integer("second_stream_ahead", 0, _MOST_AHEAD, 0)
        if ahead and not raw.get("demux_second_stream", bool, False):
            raise tts.wrong("second_stream_ahead", ahead, "0 without demux_second_stream")
        control = ConditionersConfig.read(raw).by_name.get("control")
        if control and _QUALITY not in control.values:
            raise raw.error("conditioners", f"control does not know {_QUALITY!r}")
        return cls(
            audio_delay=tts.number("audio_delay", 0, _LONGEST_DELAY),
            second_stream_ahead=ahead,
            max_speakers=tts.integer("max_speakers", 1, _MOST_SPEAKERS, 5),
            temperature=sampling.number("temp", 0, 100, 0.6),
            guidance=sampling.number("cfg_coef", 0, 100, None),
        )
