"""One answer of the assistant's, as its client is told of it."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import numpy as np

from dsm_mlx.audio.raw import Encoder
from dsm_mlx.chat.speaking import Speaks, Told
from dsm_mlx.messages import reason
from dsm_mlx.serve.openai.conversation.items import Item, Items
from dsm_mlx.serve.openai.conversation.wire import Wire
from dsm_mlx.serve.openai.conversation.wishes import Answer
from dsm_mlx.serve.openai.events import new_id
from dsm_mlx.serve.openai.fields import encoding

FRAME = 1920  # samples
_WORD = re.compile(r"\S+")
_TRANSCRIPT = "output_audio_transcript.delta"


class Response:
    """`Speaks` that tells a client what is written and said, and who is told of that otherwise.

    item: what it becomes. why: what its end will be blamed on, if it is stopped.
    """

    def __init__(
        self,
        wire: Wire,
        items: Items,
        how: Answer,
        told: Told,
        interrupted: Callable[[], None],
        read: int,
        most: int,
    ):
        """told: by whom it was asked for. interrupted: called before it ends because somebody
        speaks. read: words that it answers. most: characters that it may have."""
        self._wire, self._items, self._how, self._told = wire, items, how, told
        self._interrupted = interrupted
        self._read, self._cap = read, Cap(how.most, most)
        self._speaks: Speaks  # from `begin` on
        self._encoder = Encoder(*encoding(how.format))
        self._samples = 0
        self._failure: str | None = None
        self.id, self.done = new_id("resp"), False
        self.item = Item("assistant", f"output_{how.modality}", status="in_progress")
        self.why = "turn_detected"

    def begin(self, speaks: Speaks) -> None:
        """speaks: what does it; it tells this object."""
        self._speaks = speaks
        self._wire.tell("response.created", response=self._shown("in_progress", None))
        self._tell("output_item.added", item=self.item.shown())
        self._items.add(self.item)
        self._tell_part("content_part.added", part=self._part(""))

    @property
    def frames(self) -> int:
        """Of its sound."""
        return self._samples // FRAME

    # ---- as who talks uses it

    @property
    def text(self) -> str:
        return self._speaks.text

    @property
    def heard(self) -> str:
        return self._speaks.heard

    @property
    def first_token(self) -> float | None:
        return self._speaks.first_token

    @property
    def first_sound(self) -> float | None:
        return self._speaks.first_sound

    async def say(self, pieces: AsyncGenerator[str, None]) -> None:
        try:
            await self._speaks.say(self._some(pieces))
        except Exception as error:
            self.why = "failed"
            self.fail(reason(error))
            raise
        self.sent()
        self.item.text = self.heard

    def stop(self) -> None:
        if self.why == "turn_detected":
            self._interrupted()
        try:
            self._speaks.stop()
        finally:
            self._end_with("cancelled", {"type": "cancelled", "reason": self.why})
            self.item.text = self.heard

    def fail(self, message: str) -> None:
        """It will not be completed."""
        self._end_with("failed", self._error(message))

    async def _some(self, pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        """As much of them as is wanted."""
        async with aclosing(pieces):
            async for piece in pieces:
                yield self._cap(piece)
                if self._cap.reached:
                    return

    # ---- what is told of it

    def wrote(self, piece: str) -> None:
        if piece and not self.done:
            name = "output_text.delta" if self._how.modality == "text" else _TRANSCRIPT
            self._tell_part(name, delta=piece)
        self._told.wrote(piece)

    def sound(self, pcm: np.ndarray) -> None:
        """float32 (samples,) of it, to be sent."""
        if not self.done:
            self._samples += len(pcm)
            self._tell_sound(self._encoder(pcm))

    def plays(self) -> None:
        self._told.plays()

    def sounds(self, ago: float) -> None:
        self._told.sounds(ago)

    def said(self, piece: str) -> None:
        self._told.said(piece)

    def broke_off(self, error: Exception) -> str | None:
        self._failure = reason(error)
        return self._told.broke_off(error)

    def sent(self) -> None:
        """All of it was made and told."""
        if self._failure is not None:
            self._end_with("failed", self._error(self._failure))
        elif self._cap.reached:
            self._end_with("incomplete", {"type": "incomplete", "reason": "max_output_tokens"})
        else:
            self._end_with("completed", {"type": "completed"})

    # ---- within

    def _end_with(self, status: str, details: dict[str, Any]) -> None:
        """Once."""
        if self.done:
            return
        if self._how.modality == "text":
            self._tell_part("output_text.done", text=self.text)
        else:
            self._tell_sound(self._encoder.rest())
            self._tell_part("output_audio.done")
            self._tell_part("output_audio_transcript.done", transcript=self.text)
        self.done = True
        self.item.status = "completed" if status == "completed" else "incomplete"
        self.item.text = self.heard if status == "cancelled" else self.text
        self._tell_part("content_part.done", part=self._part(self.text))
        self._tell("output_item.done", item=self.item.shown())
        self._items.done(self.item)
        self._wire.tell("response.done", response=self._shown(status, details))

    def _shown(self, status: str, details: dict[str, Any] | None) -> dict[str, Any]:
        over = details is not None
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [self.item.shown()] if over else [],
            "audio": {"output": self._how.output},
            "usage": self._usage() if over else None,
            "metadata": self._how.metadata,
            **self._how.shown,
        }

    def _usage(self) -> dict[str, Any]:
        """Words and frames in the place of tokens."""
        wrote = len(self.text.split())
        return {
            "input_tokens": self._read,
            "output_tokens": wrote + self.frames,
            "total_tokens": self._read + wrote + self.frames,
            "input_token_details": {"text_tokens": self._read, "audio_tokens": 0},
            "output_token_details": {"text_tokens": wrote, "audio_tokens": self.frames},
        }

    def _error(self, message: str) -> dict[str, Any]:
        error = {"type": "server_error", "code": None, "message": message}
        return {"type": "failed", "error": error}

    def _part(self, text: str) -> dict[str, Any]:
        if self._how.modality == "text":
            return {"type": "text", "text": text}
        return {"type": "audio", "transcript": text}

    def _tell_sound(self, data: bytes) -> None:
        if data:
            self._tell_part("output_audio.delta", delta=base64.b64encode(data).decode())

    def _tell_part(self, kind: str, **fields: Any) -> None:
        self._tell(kind, item_id=self.item.id, content_index=0, **fields)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._wire.tell(f"response.{kind}", response_id=self.id, output_index=0, **fields)


class Cap:
    """Lets so much of a text through that comes in pieces. reached: there was more."""

    def __init__(self, words: int | None, characters: int):
        """words: None for any number."""
        self._words, self._characters = words, characters
        self._within = False  # a word, which may go on
        self.reached = False

    def __call__(self, piece: str) -> str:
        """What of it may be there."""
        for word in _WORD.finditer(piece):
            if self._words is None or (self._within and word.start() == 0):
                continue
            if not self._words:
                self.reached = True
                return piece[: word.start()]
            self._words -= 1
        self._within = not piece[-1].isspace() if piece else self._within
        self.reached = len(piece) > self._characters
        piece = piece[: self._characters]
        self._characters -= len(piece)
        return piece
