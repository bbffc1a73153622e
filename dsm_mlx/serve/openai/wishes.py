"""What a realtime client asks for, in the shape of today and in the older one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dsm_mlx import TurnPolicy
from dsm_mlx.options import PAUSE_SECONDS
from dsm_mlx.serve.openai import fields
from dsm_mlx.serve.openai.fields import OLD_FORMATS, VAD, given, object_of


@dataclass(frozen=True)
class Input:
    """How a client's sound comes and is heard.

    format: as the protocol names it. turns: its `turn_detection`, None where the client ends turns
    itself.
    """

    format: dict[str, Any] = field(default_factory=lambda: dict(OLD_FORMATS["pcm16"]))
    turns: dict[str, Any] | None = field(default_factory=lambda: {"type": "server_vad", **VAD})
    transcription: dict[str, Any] | None = None
    noise_reduction: dict[str, Any] | None = None

    def updated(
        self, wanted: dict[str, Any], path: str, transcription: str = "transcription"
    ) -> Input:
        """By what a client gives. path: where it stood; transcription: what one entry of it was
        called. WishError for what cannot be."""
        found: dict[str, Any] = {}
        if wanted.get("format") is not None:
            found["format"] = fields.sound_format(wanted["format"], f"{path}.format")
        if "turn_detection" in wanted:
            place = f"{path}.turn_detection"
            found["turns"] = fields.turn_detection(wanted["turn_detection"], place)
        places = {"transcription": transcription, "noise_reduction": "noise_reduction"}
        for name, place in places.items():
            if name in wanted:
                value = wanted[name]
                found[name] = value if value is None else object_of(value, f"{path}.{place}")
        return replace(self, **found)

    @property
    def policy(self) -> TurnPolicy | None:
        """When a turn ends; None where the client says so."""
        if self.turns is None:
            return None
        if self.turns["type"] == "semantic_vad":
            return TurnPolicy(pause=fields.EAGERNESS[self.turns["eagerness"]])
        seconds = self.turns["silence_duration_ms"] / 1000
        pause = min(PAUSE_SECONDS, key=lambda known: abs(known - seconds))
        return TurnPolicy(pause=pause, threshold=self.turns["threshold"])

    def shown(self) -> dict[str, Any]:
        """As the client is told of it."""
        return {
            "format": self.format,
            "transcription": self.transcription,
            "noise_reduction": self.noise_reduction,
            "turn_detection": self.turns,
        }


@dataclass(frozen=True)
class Wishes:
    """A transcription session as its client wants it."""

    input: Input = field(default_factory=Input)
    include: list[Any] | None = None

    def updated(self, session: Any) -> Wishes:
        """By a `session.update`. WishError for what cannot be."""
        kind = given(object_of(session, "session"), "type", "transcription")
        fields.choice(kind, "session.type", ["transcription"])
        audio = object_of(given(session, "audio", {}), "session.audio")
        wanted = object_of(given(audio, "input", {}), "session.audio.input")
        return self._with(self.input.updated(wanted, "session.audio.input"), session)

    def updated_by_old(self, session: Any) -> Wishes:
        """By a `transcription_session.update`, the older shape."""
        wanted = dict(object_of(session, "session"))
        if (name := wanted.pop("input_audio_format", None)) is not None:
            fields.choice(name, "session.input_audio_format", OLD_FORMATS)
            wanted["format"] = OLD_FORMATS[name]
        for new in ("transcription", "noise_reduction"):
            if (old := f"input_audio_{new}") in wanted:
                wanted[new] = wanted.pop(old)
        return self._with(
            self.input.updated(wanted, "session", "input_audio_transcription"), session
        )

    def _with(self, input: Input, session: dict[str, Any]) -> Wishes:
        return Wishes(input, session.get("include", self.include))

    def shown(self, name: str, old: bool) -> dict[str, Any]:
        """The session as the client is told of it. name: its id."""
        kind = {"id": name, "object": "realtime.transcription_session", "include": self.include}
        heard = self.input.shown()
        if not old:
            return kind | {"type": "transcription", "audio": {"input": heard}}
        formats = {value["type"]: key for key, value in OLD_FORMATS.items()}
        return kind | {
            "input_audio_format": formats[self.input.format["type"]],
            "input_audio_transcription": self.input.transcription,
            "input_audio_noise_reduction": self.input.noise_reduction,
            "turn_detection": self.input.turns,
        }
