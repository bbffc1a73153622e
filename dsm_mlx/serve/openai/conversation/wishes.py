"""What a client wants of a conversation, and of one answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from dsm_mlx.messages import shown
from dsm_mlx.serve.models import Models
from dsm_mlx.serve.openai import fields
from dsm_mlx.serve.openai.fields import OLD_FORMATS, WishError, given, object_of
from dsm_mlx.serve.openai.wishes import Input
from dsm_mlx.tts.pace import FASTEST, SLOWEST

PARTIAL, SAID, LATENCY = "dsm_mlx.partial", "dsm_mlx.said", "dsm_mlx.latency"
"""Events of ours, for those who ask for them by `include`."""
_FLAGS = ("create_response", "interrupt_response")
_MODALITIES = ("audio", "text")
_MOST_TOKENS = 1 << 20
_MOST_METADATA = 16


@dataclass(frozen=True)
class Answer:
    """How an answer is to be given.

    modality: "audio" or "text". format: of its sound. pace: of its speech. most: words, None for
    as many as there are.
    """

    modality: str = "audio"
    format: dict[str, Any] = field(default_factory=lambda: dict(OLD_FORMATS["pcm16"]))
    voice: str | None = None
    pace: float = 1.0
    instructions: str | None = None
    most: int | None = None
    metadata: dict[str, str] | None = None

    def updated(self, wanted: Any, path: str, speaks: bool) -> Answer:
        """By what a session or a response has of it. speaks: whether there is a model for that.
        WishError."""
        wanted = object_of(wanted, path)
        _refuse(wanted, path)
        audio = object_of(given(wanted, "audio", {}), f"{path}.audio")
        found: dict[str, Any] = {}
        if wanted.get("output_modalities") is not None:
            place = f"{path}.output_modalities"
            found["modality"] = _modality(wanted["output_modalities"], place, speaks)
        if wanted.get("instructions") is not None:
            found["instructions"] = fields.text(wanted["instructions"], f"{path}.instructions")
        if wanted.get("max_output_tokens") is not None:
            most, place = wanted["max_output_tokens"], f"{path}.max_output_tokens"
            found["most"] = None if most == "inf" else fields.whole(most, place, 1, _MOST_TOKENS)
        if wanted.get("metadata") is not None:
            found["metadata"] = _metadata(wanted["metadata"], f"{path}.metadata")
        spoken = object_of(given(audio, "output", {}), f"{path}.audio.output")
        return replace(self, **found, **_spoken(spoken, f"{path}.audio.output"))

    @property
    def output(self) -> dict[str, Any]:
        """Of its sound, as the client is told."""
        return {"format": self.format, "voice": self.voice}

    @property
    def shown(self) -> dict[str, Any]:
        return {
            "output_modalities": [self.modality],
            "max_output_tokens": "inf" if self.most is None else self.most,
        }


@dataclass(frozen=True)
class Wishes:
    """A conversation as its client wants it.

    model: the name of who answers. creates, interrupts: of its turn detection, whether a turn is
    answered, and whether who speaks over an answer stops it.
    """

    model: str
    input: Input = field(default_factory=Input)
    answer: Answer = field(default_factory=Answer)
    creates: bool = True
    interrupts: bool = True
    include: tuple[str, ...] | None = None

    @classmethod
    def first(cls, models: Models, model: str | None) -> Wishes:
        """At the beginning. model: as the address has it."""
        answer = Answer(modality="audio" if models.tts else "text")
        return cls(models.answerer(model).name, answer=answer)

    def updated(self, session: Any, models: Models) -> Wishes:
        """By a `session.update`. WishError for what cannot be."""
        kind = given(object_of(session, "session"), "type", "realtime")
        fields.choice(kind, "session.type", ["realtime"])
        audio = object_of(given(session, "audio", {}), "session.audio")
        path = "session.audio.input"
        heard = object_of(given(audio, "input", {}), path)
        found: dict[str, Any] = {
            "input": self.input.updated(heard, path),
            "answer": self.answer.updated(session, "session", models.tts is not None),
        }
        if isinstance(turns := heard.get("turn_detection"), dict):
            found |= _manners(turns, f"{path}.turn_detection")
        if session.get("model") is not None:
            name = fields.text(session["model"], "session.model")
            found["model"] = models.answerer(name).name
        if "include" in session:
            found["include"] = _include(session["include"])
        return replace(self, **found)

    def shown(self, name: str, system: str) -> dict[str, Any]:
        """As the client is told of it. name: its id. system: the instructions, where it gave
        none."""
        turns = self.input.turns
        if turns is not None:
            flags = {"create_response": self.creates, "interrupt_response": self.interrupts}
            turns = turns | flags
        heard = self.input.shown() | {"turn_detection": turns}
        instructions = self.answer.instructions
        return {
            "id": name,
            "object": "realtime.session",
            "type": "realtime",
            "model": self.model,
            "instructions": system if instructions is None else instructions,
            "audio": {"input": heard, "output": self.answer.output | {"speed": self.answer.pace}},
            "include": None if self.include is None else list(self.include),
            "tools": [],
            "tool_choice": "auto",
            **self.answer.shown,
        }


def _refuse(wanted: dict[str, Any], path: str) -> None:
    """What nobody here can do."""
    if wanted.get("tools"):
        raise WishError("tools cannot be called here (expected none)", f"{path}.tools")
    if given(wanted, "tool_choice", "auto") not in ("auto", "none"):
        raise WishError(
            "tools cannot be called here (expected auto or none)", f"{path}.tool_choice"
        )
    if wanted.get("prompt") is not None:
        raise WishError("there are no stored prompts here", f"{path}.prompt")


def refuse_apart(wanted: dict[str, Any]) -> None:
    """An answer that is no part of the conversation."""
    if given(wanted, "conversation", "auto") != "auto":
        message = "conversation: answers beside the conversation are not made (expected auto)"
        raise WishError(message, "response.conversation")
    if wanted.get("input") is not None:
        message = "input: what is answered is the conversation (expected no input)"
        raise WishError(message, "response.input")


def _modality(value: Any, path: str, speaks: bool) -> str:
    if not (isinstance(value, list) and len(value) == 1 and value[0] in _MODALITIES):
        raise WishError(f"{path} is {shown(value)} (expected ['audio'] or ['text'])", path)
    if value[0] == "audio" and not speaks:
        raise WishError(f"{path}: this server does not speak (expected ['text'])", path)
    return value[0]


def _spoken(wanted: dict[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if wanted.get("format") is not None:
        found["format"] = fields.sound_format(wanted["format"], f"{path}.format")
    if (voice := wanted.get("voice")) is not None:
        name = voice.get("id") if isinstance(voice, dict) else voice
        found["voice"] = fields.text(name, f"{path}.voice")
    if wanted.get("speed") is not None:
        found["pace"] = float(fields.number(wanted["speed"], f"{path}.speed", SLOWEST, FASTEST))
    return found


def _manners(turns: dict[str, Any], path: str) -> dict[str, bool]:
    if turns.get("idle_timeout_ms") is not None:
        raise WishError("nothing is said to a silent client here", f"{path}.idle_timeout_ms")
    found = [fields.flag(given(turns, name, True), f"{path}.{name}") for name in _FLAGS]
    return dict(zip(("creates", "interrupts"), found, strict=True))


def _metadata(value: Any, path: str) -> dict[str, str]:
    found = object_of(value, path)
    if len(found) > _MOST_METADATA:
        raise WishError(f"{path} has {len(found)} entries (at most {_MOST_METADATA})", path)
    return {name: fields.text(entry, f"{path}.{name[:80]}") for name, entry in found.items()}


def _include(value: Any) -> tuple[str, ...] | None:
    path = "session.include"
    if value is not None and not isinstance(value, list):
        raise WishError(f"{path} is {shown(value)} (expected a list of names)", path)
    return None if value is None else tuple(fields.text(name, path) for name in value)
