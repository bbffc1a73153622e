"""What a client of Kyutai's asks for beside the text, and how it may write the text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from dsm_mlx.checks import is_number
from dsm_mlx.serve.models import Models

FORMATS = ("OggOpus", "OggOpusMessagePack", "Pcm", "PcmMessagePack")
_LONGEST_BREAK = 10.0
_BREAK = re.compile(r"""<break\s+time=["'](\d+(?:\.\d*)?)(ms|s)["']\s*/?>""")


@dataclass(frozen=True)
class Wishes:
    """What a client asks for beside the text."""

    format: str = "OggOpus"
    voice: str | None = None
    seed: int | None = None
    temperature: float | None = None
    cfg: float | None = None

    @classmethod
    def of(cls, values: QueryParams | dict[str, Any], models: Models) -> Wishes:
        """From a query or a JSON object; ValueError for a bad value. Unknown keys do not count, and
        an unknown voice is the default one, so that a voice of another server is no error."""
        format = values.get("format", "OggOpus")
        if format not in FORMATS:
            raise ValueError(f"format (expected one of {', '.join(FORMATS)})")
        seed = _number(values, "seed", int)
        if seed is not None and not 0 <= seed < 1 << 63:
            raise ValueError("seed (expected an integer from 0 up)")
        temperature = _number(values, "temperature", float)
        if temperature is not None and not -100 <= temperature <= 100:
            raise ValueError("temperature (expected -100 to 100)")
        top_k = _number(values, "top_k", int)
        if (temperature or 0) < 0 or (top_k is not None and top_k <= 1):
            temperature = 0.0
        cfg = _number(values, "cfg_alpha", float)
        return cls(
            format,
            models.voice(values.get("voice")),
            seed,
            temperature,
            # Asked for by every client of unmute, whatever the model: taken if it was taught it.
            cfg if models.tts and cfg in models.tts.cfg_values else None,
        )

    @property
    def packed(self) -> bool:
        """Whether the client gets msgpack; else it gets nothing but sound."""
        return self.format.endswith("MessagePack")

    @property
    def options(self) -> dict[str, Any]:
        """Those of the model's `stream` and `synthesize`."""
        return {"temperature": self.temperature, "cfg": self.cfg, "seed": self.seed}


def _number(values: Any, key: str, kind: type) -> Any:
    value = values.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, str) or is_number(value, (int, float)):
            return kind(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{key} (expected a number)")


def cleaned(text: str) -> str:
    """A text as Kyutai's clients may write it: without dashes, and with breaks of 10 s at most."""
    return _BREAK.sub(_shorter, text.replace("\u2013", ""))


def _shorter(tag: re.Match[str]) -> str:
    seconds = float(tag[1]) / (1000 if tag[2] == "ms" else 1)
    return f'<break time="{min(max(seconds, 0.08), _LONGEST_BREAK):g}s"/>'
