"""Replies of a language model on this machine, by mlx-lm."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from dsm_mlx.chat.replies.thoughts import Thoughts
from dsm_mlx.checks import check_number, check_seed, check_whole
from dsm_mlx.llm.loading import open_model
from dsm_mlx.llm.template import ChatTemplate
from dsm_mlx.llm.writer import Ticket, Writer
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.waiting import Both

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11

CONTEXT = 4096  # tokens: some twenty minutes of talk
MAX_TOKENS = 512
TEMPERATURE = 0.7
_LEAST = 32  # tokens of a prompt


class LocalReply:
    """Writes replies with a language model in mlx-lm's layout, such as those of mlx-community.

    It needs `pip install 'dsm-mlx[chat]'`. The model takes turns on the device with all that
    listens and speaks: a turn is one token, or some of the prompt's, as many as take no longer.
    What it has read and written is kept for the next reply, which only reads what is new; where the
    assistant was interrupted, from the cut on. One reply is written at a time: a new one ends the
    last one. Other objects of the same model share its weights.

    What it gives is for `for` and for `async for`; to `close` it, from any thread, ends it at the
    turn that is being computed.

    Args:
        model: a folder, or a repository of the hub, which is fetched if it is not in the cache.
        temperature: 0 for the most likely tokens.
        max_tokens: of one reply.
        context: tokens of a prompt and its reply together; of a longer conversation what was said
            first is left out.
        seed: for replies that can be repeated.
        progress: called with the fraction loaded, and what is being done.

    Raises:
        CheckpointError: there is no such model, mlx-lm cannot load it, it is none to talk with, or
            it does not fit into the memory that is free.
        ValueError, TypeError: an argument that cannot be, or mlx-lm is not installed.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        temperature: float = TEMPERATURE,
        max_tokens: int = MAX_TOKENS,
        context: int = CONTEXT,
        seed: int | None = None,
        progress: Callable[[float, str], None] | None = None,
    ):
        temperature = check_number("temperature", temperature, 0.0, 10.0)
        self._max_tokens = check_whole("max_tokens", max_tokens, 1)
        context = check_whole("context", context, self._max_tokens + _LEAST)
        check_seed(seed)
        loaded = open_model(model, context, progress)
        self.name = loaded.name
        self._template = ChatTemplate(loaded.tokenizer, loaded.name, context - self._max_tokens)
        self._tokenizer = loaded.tokenizer
        self._loaded: Any = loaded
        own = secrets.randbits(32) if seed is None else seed
        self._writer: Writer | None = Writer(loaded.net, temperature, own)

    def __call__(self, messages: Sequence[dict[str, Any]]) -> Both[str]:
        """The reply's text in pieces.

        Raises, where the next piece is taken:
            ReplyError: the chat template cannot say these messages, or the last one is too long.
            BusyError: another reply has begun meanwhile.
            ValueError: it is closed.
        """
        ticket = Ticket()
        return Both(self._pieces(list(messages), ticket), ticket.stop)

    def close(self) -> None:
        """Let go of the model; a reply that is being written ends."""
        writer, self._writer, self._loaded = self._writer, None, None
        if writer is not None:
            worker.post(writer.let_go)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pieces(self, messages: list[dict[str, Any]], ticket: Ticket) -> Generator[str, None, None]:
        writer = self._open_writer()
        tokens = self._template.tokens(messages)
        text, thoughts = self._tokenizer.detokenizer, self._thoughts(tokens)
        token = worker.run_pieces(writer.read(tokens, ticket))
        for left in range(self._max_tokens - 1, -1, -1):
            if token is None or token in self._tokenizer.eos_token_ids:
                break
            text.add_token(token)
            if piece := thoughts(text.last_segment):
                yield piece
            if left:
                token = worker.run(self._open_writer().write, ticket)
        if token is None:
            return
        text.finalize()
        if piece := thoughts(text.last_segment) + thoughts.end():
            yield piece

    def _thoughts(self, prompt: list[int]) -> Thoughts:
        """What leaves out what the model thinks; some templates begin that for it."""
        if not self._tokenizer.has_thinking:
            return Thoughts()
        start, end = self._tokenizer.think_start, self._tokenizer.think_end
        begun = self._tokenizer.rfind_think_start(prompt) > self._tokenizer.rfind_think_end(prompt)
        return Thoughts(start, end, begun)

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise ValueError("the language model is closed")
        return self._writer
