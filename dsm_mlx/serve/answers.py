"""Who answers in conversations: what clients choose by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dsm_mlx.chat.asking import Reply
from dsm_mlx.chat.replies.echo import EchoReply


@dataclass(frozen=True)
class Answerer:
    """A model that answers.

    name: as clients ask for it. make: a reply for one conversation, which is closed at its end if
    it can be; may block, and raise what says why there is none. system: how it is told to answer.
    close: lets go of what all of them share.
    """

    name: str
    make: Callable[[], Reply] = field(repr=False)  # which may know a key
    system: str = ""
    close: Callable[[], None] = lambda: None


ECHO = Answerer("echo", EchoReply)


class Chosen:
    """The reply of a conversation, whose answerer may change between two answers."""

    def __init__(self, choice: Callable[[], Answerer]):
        """choice: the present one."""
        self._choice = choice
        self._made: Answerer | None = None
        self._reply: Any = None
        self._closed = False

    def __call__(self, messages: list[dict[str, str]]) -> Any:
        """As of any `Reply`; for one thread at a time."""
        answerer = self._choice()
        if answerer is not self._made:
            self._let_go()
            self._reply, self._made = answerer.make(), answerer
        if self._closed:  # meanwhile, by another thread
            self._let_go()
            raise ValueError("the conversation is over")
        return self._reply(messages)

    def close(self) -> None:
        """No more answers. From any thread."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        reply, self._reply, self._made = self._reply, None, None
        if (close := getattr(reply, "close", None)) is not None:
            close()
