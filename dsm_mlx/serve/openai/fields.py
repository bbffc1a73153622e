"""Values as a realtime client gives them, each looked at, and what both sessions ask for.

path: where a value stood, for the WishError of one that cannot be.
"""

from __future__ import annotations

from typing import Any

from dsm_mlx.checks import is_number
from dsm_mlx.messages import shown

OLD_FORMATS: dict[str, dict[str, Any]] = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
EAGERNESS = {"low": 3.0, "medium": 2.0, "high": 1.0, "auto": 2.0}
VAD = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
_ENCODINGS = {
    "audio/pcm": ("s16le", 24_000),
    "audio/pcmu": ("u-law", 8000),
    "audio/pcma": ("a-law", 8000),
}
_MOST = {"threshold": 1, "prefix_padding_ms": 10_000, "silence_duration_ms": 60_000}


class WishError(ValueError):
    """What is wrong with a wish, and which: `param`. code: a word for programs, where there is
    one."""

    def __init__(self, message: str, param: str, code: str | None = None):
        super().__init__(message)
        self.param, self.code = param, code


def object_of(value: Any, path: str) -> dict[str, Any]:
    """An object of JSON."""
    if not isinstance(value, dict):
        raise WishError(f"{path} is {shown(value)} (expected an object)", path)
    return value


def given(values: dict[str, Any], name: str, usual: Any) -> Any:
    """What is null has not been given."""
    return usual if values.get(name) is None else values[name]


def text(value: Any, path: str) -> str:
    """A text, which may be empty."""
    if not isinstance(value, str):
        raise WishError(f"{path} is {shown(value)} (expected a text)", path)
    return value


def flag(value: Any, path: str) -> bool:
    """True or false, and no number for them."""
    if not isinstance(value, bool):
        raise WishError(f"{path} is {shown(value)} (expected true or false)", path)
    return value


def number(value: Any, path: str, least: float, most: float) -> float:
    """A number from `least` to `most`."""
    if not is_number(value, (int, float)) or not least <= value <= most:
        raise WishError(f"{path} is {shown(value)} (expected {least:g} to {most:g})", path)
    return value


def whole(value: Any, path: str, least: int, most: int) -> int:
    """An integer from `least` to `most`."""
    if not is_number(value, int) or not least <= value <= most:
        raise WishError(f"{path} is {shown(value)} (expected {least} to {most})", path)
    return value


def choice(value: Any, path: str, known: Any) -> str:
    """One of the texts that are known."""
    if not isinstance(value, str) or value not in known:
        raise WishError(f"{path} is {shown(value)} (expected one of {', '.join(known)})", path)
    return value


def sound_format(value: Any, path: str) -> dict[str, Any]:
    """Of sound, as the protocol names it, with its rate where that may be another one."""
    kind = choice(object_of(value, path).get("type"), f"{path}.type", _ENCODINGS)
    if kind != "audio/pcm":
        return {"type": kind}
    return {"type": kind, "rate": whole(given(value, "rate", 24_000), f"{path}.rate", 8000, 48_000)}


def encoding(format: dict[str, Any]) -> tuple[str, int]:
    """How samples of a format lie in bytes, and how many there are in a second."""
    name, rate = _ENCODINGS[format["type"]]
    return name, format.get("rate", rate)


def turn_detection(value: Any, path: str) -> dict[str, Any] | None:
    """None where the client ends turns itself."""
    if value is None:
        return None
    kind = given(object_of(value, path), "type", "server_vad")
    choice(kind, f"{path}.type", ("server_vad", "semantic_vad"))
    if kind == "semantic_vad":
        eagerness = given(value, "eagerness", "auto")
        return {"type": kind, "eagerness": choice(eagerness, f"{path}.eagerness", EAGERNESS)}
    found = {"type": kind} | {name: given(value, name, usual) for name, usual in VAD.items()}
    for name, most in _MOST.items():
        number(found[name], f"{path}.{name}", 0, most)
    return found
