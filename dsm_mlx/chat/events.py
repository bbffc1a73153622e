"""What happens in a conversation. Plain values; `time` is in seconds of the sound heard so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """How long an answer took, in seconds of a clock on the wall.

    last_word: from the end of the person's last word to the end of the turn, which was known then
        with all of its words. first_token: from there to the first piece of the reply.
        first_sound: from there to the first sound of it that was heard. total: all together.
    """

    last_word: float
    first_token: float
    first_sound: float

    @property
    def total(self) -> float:
        """Seconds from the end of the person's last word to the first sound that was heard."""
        return self.last_word + self.first_token + self.first_sound


@dataclass(frozen=True)
class Partial:
    """What the person has said of this turn so far, with the word in progress."""

    text: str
    time: float


@dataclass(frozen=True)
class Heard:
    """What the person has said of this turn so far, in whole words."""

    text: str
    time: float


@dataclass(frozen=True)
class TurnEnded:
    """The person has finished; `text` is all that was said."""

    text: str
    time: float


@dataclass(frozen=True)
class TakenBack:
    """The end came too early: the person goes on. What was being thought or said is withdrawn;
    `text` is what has been said of the turn so far."""

    text: str
    time: float


@dataclass(frozen=True)
class Thinking:
    """The reply has been asked for."""

    time: float


@dataclass(frozen=True)
class Writing:
    """A piece of the reply, as it was written."""

    text: str
    time: float


@dataclass(frozen=True)
class Saying:
    """A piece of the assistant's text that has now been heard, in its own spelling: the pieces put
    together, with nothing between them, are what was heard so far."""

    text: str
    time: float


@dataclass(frozen=True)
class Interrupted:
    """The assistant was stopped; `heard` is what of `text` was heard, as it is in the messages."""

    heard: str
    text: str
    time: float


@dataclass(frozen=True)
class Said:
    """The assistant has finished, and `text` was heard. latency: None where it was no answer."""

    text: str
    latency: Latency | None
    time: float


@dataclass(frozen=True)
class Failed:
    """The reply or its speech failed; the conversation goes on."""

    message: str
    time: float


@dataclass(frozen=True)
class DeviceLost:
    """The microphone or the loudspeaker is gone."""

    message: str
    time: float


@dataclass(frozen=True)
class DeviceChanged:
    """The microphone or the loudspeaker is another one now, or goes on in another way."""

    message: str
    time: float


Event = (
    Partial
    | Heard
    | TurnEnded
    | TakenBack
    | Thinking
    | Writing
    | Saying
    | Interrupted
    | Said
    | Failed
    | DeviceLost
    | DeviceChanged
)
