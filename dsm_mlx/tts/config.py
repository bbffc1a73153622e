"""What a text-to-speech checkpoint says beside the shape of its model."""

from __future__ import annotations

from dataclasses import dataclass

from dsm_mlx.files.config_reader import ConfigReader


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
        if tts.get("multistream", bool, False):
            raise tts.error("multistream", "is true (expected false)")
        temperature = sampling.get("temp", float, 0.6)
        if temperature < 0:
            raise sampling.error("temp", f"is {temperature} (expected 0 or more)")
        return cls(
            audio_delay=tts.get("audio_delay", float),
            second_stream_ahead=tts.count("second_stream_ahead", 0),
            max_speakers=tts.positive("max_speakers", 5),
            temperature=temperature,
            guidance=sampling.get("cfg_coef", float, None),
        )
