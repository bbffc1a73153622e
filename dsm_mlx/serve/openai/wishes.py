"""What a realtime client asks for, in the shape of today and in the older one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dsm_mlx import TurnPolicy
from dsm_mlx.messages import shown
from dsm_mlx.options import PAUSE_SECONDS

_EAGERNESS = {"low": 3.0, "medium": 2.0, "high": 1.0, "auto": 2.0}
_OLD_FORMATS = {
    "pcm16": {"type": "audio/pcm", "rate": 24_000},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_ENCODINGS = {"audio/pcm": ("s16le", 24_000), "audio/pcmu": ("u-law", 8000)}
_ENCODINGS["audio/pcma"] = ("a-law", 8000)
_MOST = {"threshold": 1, "prefix_padding_ms": 10_000, "silence_duration_ms": 60_000}
_VAD = {"threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}


class WishError(ValueError):
    """What is wrong with a wish, and which: `param`."""

    def __init__(self, message: str, param: str):
        super().__init__(message)
        self.param = param


@dataclass(frozen=True)
class Wishes:
    """A session as its client wants it.

    format: of the sound, as the protocol names it. turns: its `turn_detection`, None where the
    client ends turns itself.
    """

    format: dict[str, Any] = field(default_factory=lambda: dict(_OLD_FORMATS["pcm16"]))
    turns: dict[str, Any] | None = field(default_factory=lambda: {"type": "server_vad", **_VAD})
    transcription: dict[str, Any] | None = None
    noise_reduction: dict[str, Any] | None = None
    include: list[Any] | None = None

    def updated(self, session: Any) -> Wishes:
        """By a `session.update`. WishError for what cannot be."""
        kind = _given(_object(session, "session"), "type", "transcription")
        if kind != "transcription":
            raise WishError(f"type is {shown(kind)} (expected transcription)", "session.type")
        audio = _object(_given(session, "audio", {}), "session.audio")
        given = _object(_given(audio, "input", {}), "session.audio.input")
        return self._with(given, session, "session.audio.input", "transcription")

    def updated_by_old(self, session: Any) -> Wishes:
        """By a `transcription_session.update`, the older shape."""
        given = dict(_object(session, "session"))
        if (name := given.pop("input_audio_format", None)) is not None:
            if not isinstance(name, str) or name not in _OLD_FORMATS:
                known = ", ".join(_OLD_FORMATS)
                message = f"input_audio_format is {shown(name)} (expected one of {known})"
                raise WishError(message, "session.input_audio_format")
            given["format"] = _OLD_FORMATS[name]
        for new in ("transcription", "noise_reduction"):
            if (old := f"input_audio_{new}") in given:
                given[new] = given.pop(old)
        return self._with(given, session, "session", "input_audio_transcription")

    def _with(
        self, given: dict[str, Any], session: dict[str, Any], path: str, transcription: str
    ) -> Wishes:
        found: dict[str, Any] = {}
        if given.get("format") is not None:
            found["format"] = _format(given["format"], f"{path}.format")
        if "turn_detection" in given:
            found["turns"] = _turns(given["turn_detection"], f"{path}.turn_detection")
        places = {"transcription": transcription, "noise_reduction": "noise_reduction"}
        for name, place in places.items():
            if name in given:
                value = given[name]
                found[name] = value if value is None else _object(value, f"{path}.{place}")
        if "include" in session:
            found["include"] = session["include"]
        return replace(self, **found)

    @property
    def encoding(self) -> tuple[str, int]:
        """How samples lie in bytes, and how many there are in a second."""
        encoding, rate = _ENCODINGS[self.format["type"]]
        return encoding, self.format.get("rate", rate)

    @property
    def policy(self) -> TurnPolicy | None:
        """When a turn ends; None where the client says so."""
        if self.turns is None:
            return None
        if self.turns["type"] == "semantic_vad":
            return TurnPolicy(pause=_EAGERNESS[self.turns["eagerness"]])
        seconds = self.turns["silence_duration_ms"] / 1000
        pause = min(PAUSE_SECONDS, key=lambda known: abs(known - seconds))
        return TurnPolicy(pause=pause, threshold=self.turns["threshold"])

    def shown(self, name: str, old: bool) -> dict[str, Any]:
        """The session as the client is told of it. name: its id."""
        kind = {"id": name, "object": "realtime.transcription_session"}
        more = {"include": self.include}
        if old:
            formats = {value["type"]: key for key, value in _OLD_FORMATS.items()}
            return (
                kind
                | more
                | {
                    "input_audio_format": formats[self.format["type"]],
                    "input_audio_transcription": self.transcription,
                    "input_audio_noise_reduction": self.noise_reduction,
                    "turn_detection": self.turns,
                }
            )
        heard = {
            "format": self.format,
            "transcription": self.transcription,
            "noise_reduction": self.noise_reduction,
            "turn_detection": self.turns,
        }
        return kind | more | {"type": "transcription", "audio": {"input": heard}}


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WishError(f"{path} is {shown(value)} (expected an object)", path)
    return value


def _given(values: dict[str, Any], name: str, usual: Any) -> Any:
    """What is null has not been given."""
    return usual if values.get(name) is None else values[name]


def _format(value: Any, path: str) -> dict[str, Any]:
    kind = _object(value, path).get("type")
    if not isinstance(kind, str) or kind not in _ENCODINGS:
        known = ", ".join(_ENCODINGS)
        raise WishError(f"type is {shown(kind)} (expected one of {known})", f"{path}.type")
    if kind != "audio/pcm":
        return {"type": kind}
    rate = _given(value, "rate", 24_000)
    whole = isinstance(rate, int) and not isinstance(rate, bool)
    if not whole or not 8000 <= rate <= 48_000:
        raise WishError(f"rate is {shown(rate)} (expected 8000 to 48000)", f"{path}.rate")
    return {"type": kind, "rate": rate}


def _turns(value: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    kind = _given(_object(value, path), "type", "server_vad")
    if kind == "semantic_vad":
        eagerness = _given(value, "eagerness", "auto")
        if not isinstance(eagerness, str) or eagerness not in _EAGERNESS:
            known = ", ".join(_EAGERNESS)
            message = f"eagerness is {shown(eagerness)} (expected one of {known})"
            raise WishError(message, f"{path}.eagerness")
        return {"type": kind, "eagerness": eagerness}
    if kind != "server_vad":
        message = f"type is {shown(kind)} (expected server_vad or semantic_vad)"
        raise WishError(message, f"{path}.type")
    found = {"type": kind} | {name: _given(value, name, usual) for name, usual in _VAD.items()}
    for name, most in _MOST.items():
        number = found[name]
        good = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not good or not 0 <= number <= most:
            message = f"{name} is {shown(number)} (expected 0 to {most})"
            raise WishError(message, f"{path}.{name}")
    return found
