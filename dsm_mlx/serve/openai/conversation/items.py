"""What was said in a conversation, item by item, as client and model are told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dsm_mlx.chat.messages import by_turns
from dsm_mlx.messages import shown
from dsm_mlx.serve.openai.events import new_id
from dsm_mlx.serve.openai.fields import WishError

_MOST = 1000  # items


@dataclass(eq=False)
class Item:
    """A message. kind: of its content, as the protocol names it. status: "in_progress",
    "completed" or "incomplete". seconds: of the sound that was sent of it; heard: what of the text
    is in the first seconds of that."""

    role: str
    kind: str
    text: str = ""
    status: str = "completed"
    id: str = field(default_factory=lambda: new_id("item"))
    seconds: Callable[[], float] = lambda: 0.0
    heard: Callable[[float], str] | None = None

    @property
    def part(self) -> dict[str, Any]:
        """Its content. Sound is not kept."""
        if self.kind.endswith("_audio"):
            return {"type": self.kind, "transcript": self.text}
        return {"type": self.kind, "text": self.text}

    def shown(self) -> dict[str, Any]:
        """As the client is told of it."""
        item = {"id": self.id, "object": "realtime.item", "type": "message"}
        begun = self.role == "user" or self.status != "in_progress"
        return item | {"role": self.role, "status": self.status, "content": [self.part] * begun}


class Items:
    """Those of one conversation, in their order; at most so many, with so many characters: then the
    first ones are forgotten."""

    def __init__(self, characters: int, tell: Callable[..., None]):
        """tell: the client, of an event of a kind with its fields."""
        self._characters, self._tell = characters, tell
        self._items: list[Item] = []

    def add(self, item: Item, after: str | None = None) -> None:
        """At the end, or after another one ("root": before all); the client is told. WishError."""
        if any(item.id == other.id for other in self._items):
            raise WishError(f"id is {shown(item.id)}, which is taken", "item.id")
        at = len(self._items)
        if after == "root":
            at = 0
        elif after is not None:
            at = self._items.index(self.find(after, "previous_item_id")) + 1
        self._items.insert(at, item)
        self._tell("conversation.item.added", item=item.shown(), previous_item_id=self.before(item))
        self._forget()

    def done(self, item: Item) -> None:
        """Nothing more comes of it; the client is told, unless it was deleted meanwhile."""
        if item in self._items:
            before = self.before(item)
            self._tell("conversation.item.done", item=item.shown(), previous_item_id=before)

    def find(self, name: Any, param: str = "item_id") -> Item:
        """WishError where there is none of that id. param: where it stood."""
        for item in self._items:
            if item.id == name:
                return item
        raise WishError(f"{param} is {shown(name)} (expected the id of an item)", param)

    def before(self, item: Item) -> str | None:
        """The id of the one before it."""
        at = self._items.index(item)
        return self._items[at - 1].id if at else None

    @property
    def last(self) -> str | None:
        """The id of the last one."""
        return self._items[-1].id if self._items else None

    def delete(self, item: Item) -> None:
        """The client is told."""
        if item in self._items:
            self._items.remove(item)
            self._tell("conversation.item.deleted", item_id=item.id)

    def messages(self, instructions: str) -> list[dict[str, str]]:
        """As whoever writes replies is given them."""
        said = [(item.role, item.text.strip()) for item in self._items]
        return by_turns([("system", instructions.strip()), *said])

    def _forget(self) -> None:
        while len(self._items) > _MOST or self._size > self._characters:
            self.delete(self._items[0])

    @property
    def _size(self) -> int:
        return sum(len(item.text) for item in self._items)
