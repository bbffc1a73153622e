"""Messages to tokens, by the model's own chat template, and never more than it may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dsm_mlx.errors import CheckpointError, ReplyError
from dsm_mlx.messages import named, reason

Message = dict[str, Any]


class ChatTemplate:
    """Makes the tokens after which a model writes its reply.

    tokenizer: mlx-lm's `TokenizerWrapper`. most: tokens that a prompt may have. What has been said
    longest ago is left out of a longer one; to half of `most`, so that the beginning stays the same
    for some turns, and what the model keeps of it is of use.

    Raises:
        CheckpointError: the model has no template, so it is none to talk with.
    """

    def __init__(self, tokenizer: Any, name: str, most: int):
        if not tokenizer.has_chat_template:
            raise CheckpointError(
                f"{named(name)}: has no chat template (expected a model to talk with, whose name "
                "often ends in -Instruct or -it)"
            )
        self._tokenizer, self._name, self._most = tokenizer, name, most
        self._left_out: list[Message] = []

    def tokens(self, messages: Sequence[Message]) -> list[int]:
        """Raises ReplyError where the template cannot say it, or the last message is too long."""
        system = [m for m in messages if m["role"] == "system"]
        said = [m for m in messages if m["role"] != "system"]
        skip = len(self._left_out)
        if said[:skip] != self._left_out:
            skip = 0  # it is another conversation
        tokens = self._rendered(system + said[skip:])
        most = self._most
        while len(tokens) > most:
            most = self._most // 2
            turns = (at for at in range(skip + 1, len(said)) if said[at]["role"] == "user")
            if (turn := next(turns, None)) is None:
                break
            skip = turn
            tokens = self._rendered(system + said[skip:])
        if len(tokens) > self._most:
            raise ReplyError(
                f"{named(self._name)}: the last message alone is longer than the {self._most} "
                "tokens that a prompt may have (ask for a larger context)"
            )
        self._left_out = said[:skip]
        return tokens

    def _rendered(self, messages: list[Message]) -> list[int]:
        """The tokens of all of it. Where the template refuses, as some do a system's message or a
        beginning by the assistant, they are told in a way that every template knows."""
        try:
            return self._applied(messages)
        except Exception:  # of jinja2's types, and whatever the template runs into
            pass
        try:
            return self._applied(_plainest(messages))
        except Exception as error:
            raise ReplyError(
                f"{named(self._name)}: its chat template failed ({reason(error)})"
            ) from None

    def _applied(self, messages: list[Message]) -> list[int]:
        # To think aloud before each answer is no way to talk; a template that has no such choice
        # takes no notice.
        found = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, enable_thinking=False
        )
        return [int(token) for token in found]


def _plainest(messages: list[Message]) -> list[Message]:
    """User and assistant by turns, the user first: what the system says stands before that."""
    system = [m["content"] for m in messages if m["role"] == "system"]
    said = [m for m in messages if m["role"] != "system"]
    while said and said[0]["role"] == "assistant":
        system.append(f"(You have said: {said.pop(0)['content']})")
    first = said[0]["content"] if said else ""
    return [{"role": "user", "content": "\n\n".join([*system, first])}, *said[1:]]
