"""What the client of a conversation asks for, event by event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsm_mlx.messages import shown
from dsm_mlx.serve.openai import fields
from dsm_mlx.serve.openai.conversation.items import Item
from dsm_mlx.serve.openai.conversation.wishes import refuse_apart
from dsm_mlx.serve.openai.fields import WishError, given, object_of
from dsm_mlx.serve.openai.incoming import unknown

if TYPE_CHECKING:
    from dsm_mlx.serve.openai.conversation.session import Conversing

_KINDS = {"user": "input_text", "system": "input_text", "assistant": "output_text"}
_TEXTS = ("input_text", "output_text", "text")
_LONGEST_ID = 64
_MOST_MS = 1 << 31


class Requests:
    """Takes a client's events for its session; WishError or AudioError for what cannot be."""

    def __init__(self, session: Conversing):
        self._session = session
        self._known = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve,
            "conversation.item.delete": self._delete,
            "conversation.item.truncate": self._truncate,
            "response.create": self._create_response,
            "response.cancel": self._cancel,
            "output_audio_buffer.clear": self._clear_output,
            "dsm_mlx.played": self._played,
        }

    async def __call__(self, event: dict[str, Any]) -> None:
        take = self._known.get(event["type"])
        if take is None:
            raise unknown(event["type"], "conversation")
        take(event)

    def _update(self, event: dict[str, Any]) -> None:
        session = self._session
        session.use(session.wishes.updated(event.get("session"), session.models))

    # ---- sound

    def _append(self, event: dict[str, Any]) -> None:
        self._session.ear.append(event.get("audio"))

    def _commit(self, event: dict[str, Any]) -> None:
        self._session.ear.commit()
        self._session.person.commit()

    def _clear(self, event: dict[str, Any]) -> None:
        if self._session.ear.clear():
            self._session.person.clear()
        self._session.wire.tell("input_audio_buffer.cleared")

    def _played(self, event: dict[str, Any]) -> None:
        item = self._session.items.find(event.get("item_id"))
        ms = fields.number(event.get("audio_ms"), "audio_ms", 0, _MOST_MS)
        response, playing = self._session.response, self._session.playing
        if playing and response and response.item is item:
            playing.played(ms / 1000)

    # ---- items

    def _create_item(self, event: dict[str, Any]) -> None:
        item = _item(event.get("item"), self._session.limits.whole_text)
        after = event.get("previous_item_id")
        self._session.items.add(item, after)
        self._session.items.done(item)

    def _found(self, event: dict[str, Any]) -> Item:
        return self._session.items.find(event.get("item_id"))

    def _retrieve(self, event: dict[str, Any]) -> None:
        self._session.wire.tell("conversation.item.retrieved", item=self._found(event).shown())

    def _delete(self, event: dict[str, Any]) -> None:
        item = self._found(event)
        if item.status == "in_progress":
            raise WishError("item_id is that of an item in progress", "item_id")
        self._session.items.delete(item)

    def _truncate(self, event: dict[str, Any]) -> None:
        """The client tells how much of an answer was heard, which it plays no more."""
        item = self._found(event)
        if item.heard is None:
            raise WishError("item_id is not that of an answer that was said", "item_id")
        fields.whole(given(event, "content_index", 0), "content_index", 0, 0)
        most = round(1000 * item.seconds())
        end = fields.whole(event.get("audio_end_ms"), "audio_end_ms", 0, most)
        latest = self._session.response
        if latest and latest.item is item:
            self._session.cancel()
        item.text = item.heard(end / 1000)
        name = "conversation.item.truncated"
        self._session.wire.tell(name, item_id=item.id, content_index=0, audio_end_ms=end)

    # ---- answers

    def _create_response(self, event: dict[str, Any]) -> None:
        session = self._session
        wanted = object_of(given(event, "response", {}), "response")
        refuse_apart(wanted)
        speaks = session.models.tts is not None
        how = session.wishes.answer.updated(wanted, "response", speaks)
        session.check_length(how)
        if session.asked.items or session.is_answering:
            message = "an answer is being made (response.cancel stops it)"
            raise WishError(message, "type", "conversation_already_has_active_response")
        session.asked.put(how)

    def _cancel(self, event: dict[str, Any]) -> None:
        session, name = self._session, event.get("response_id")
        response = session.response
        if name is not None and not (response and response.id == name):
            message = f"response_id is {shown(name)} (expected that of the present response)"
            raise WishError(message, "response_id")
        if not session.cancel():
            message = "no answer is being made or played"
            raise WishError(message, "type", "response_cancel_not_active")

    def _clear_output(self, event: dict[str, Any]) -> None:
        session = self._session
        if session.response is None:
            raise WishError("nothing has been said", "type")
        session.cancel()
        session.wire.tell("output_audio_buffer.cleared", response_id=session.response.id)


def _item(value: Any, most: int) -> Item:
    """A message in text of at most so many characters."""
    wanted = object_of(value, "item")
    fields.choice(wanted.get("type"), "item.type", ["message"])
    role = fields.choice(wanted.get("role"), "item.role", _KINDS)
    name = wanted.get("id")
    if name is not None and not 0 < len(fields.text(name, "item.id")) <= _LONGEST_ID:
        raise WishError(f"item.id is {shown(name)} (expected 1 to {_LONGEST_ID} signs)", "item.id")
    content = wanted.get("content")
    if not isinstance(content, list) or not content:
        raise WishError(f"item.content is {shown(content)} (expected a list)", "item.content")
    text = "\n".join(_text(part, f"item.content[{i}]") for i, part in enumerate(content))
    if len(text) > most:
        raise WishError(f"item.content is too long (at most {most} characters)", "item.content")
    item = Item(role, _KINDS[role], text)
    if name is not None:
        item.id = name
    return item


def _text(part: Any, path: str) -> str:
    """Of a part of a message. Sound comes by the buffer, and pictures are seen by nobody."""
    fields.choice(object_of(part, path).get("type"), f"{path}.type", _TEXTS)
    return fields.text(part.get("text"), f"{path}.text")
