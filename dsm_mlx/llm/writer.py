"""Tokens one after another, in turns on the worker's thread, and what is kept between replies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from dsm_mlx.errors import BusyError
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.worker import Pieces

_MOST = 256  # tokens of a prompt that are read in one turn
_TURN_SECONDS = 0.03  # half of what a turn may last, so that a live frame does not wait for long


class Ticket:
    """One reply that is being written. over: nobody wants any more of it."""

    def __init__(self) -> None:
        self.over = False

    def stop(self) -> None:
        """From any thread; takes no lock. The turn that is being computed is the last one."""
        self.over = True


class Writer:
    """Writes one text at a time. All but its making is for the worker's thread.

    The cache of keys and values holds what was read and written last. The next text uses what it
    begins with in common: the rest is cut off, or, where the model's cache cannot be cut (one with
    a state that goes on), all is read anew.

    net: mlx-lm's module. seed: of what is drawn. clock: for tests.
    """

    def __init__(
        self,
        net: Any,
        temperature: float,
        seed: int,
        clock: Callable[[], float] = worker.shared.clock,
    ):
        self._net, self._temperature, self._seed, self._clock = net, temperature, seed, clock
        self._key: mx.array | None = None
        self._cache: list[Any] | None = None
        self._known: list[int] = []  # the tokens that the cache holds
        self._newest: int | None = None  # that was drawn last, and is not in it yet
        self._ticket: Ticket | None = None
        self._size = 1  # tokens of a prompt to be read in the next turn
        self._token_seconds = math.inf  # what a turn of one has taken at best

    @property
    def known(self) -> tuple[int, ...]:
        """The tokens that are kept."""
        return tuple(self._known)

    def read(self, tokens: Sequence[int], ticket: Ticket) -> Pieces[int | None]:
        """Read a prompt, some tokens a turn; the first token that follows on it, or None where
        nobody wants it any more. Whose ticket was valid before has no claim any longer."""
        if ticket.over:
            return None
        self._ticket, self._newest = ticket, None
        rest = self._cut(tokens)
        while len(rest) > 1:
            size = min(self._size, len(rest) - 1)
            self._advance(rest[:size])
            rest = rest[size:]
            yield size
            if not self._is_wanted(ticket):
                return None
        self._newest = self._draw(self._advance(rest))
        return self._newest

    def write(self, ticket: Ticket) -> int | None:
        """The next token; None where nobody wants it."""
        if not self._is_wanted(ticket):
            return None
        assert self._newest is not None
        self._newest = self._draw(self._advance([self._newest]))
        return self._newest

    def let_go(self) -> None:
        """Forget all that is kept, and give its memory back."""
        self._net = self._cache = self._ticket = None
        self._known = []
        mx.clear_cache()

    def _is_wanted(self, ticket: Ticket) -> bool:
        """BusyError for somebody who still wants what another reply has ended."""
        if ticket.over:
            return False
        if ticket is not self._ticket:
            raise BusyError(
                "another reply of this language model has begun (one is written at a time; make "
                "another LocalReply, which shares the weights)"
            )
        return True

    def _cut(self, tokens: Sequence[int]) -> list[int]:
        """Cut what is kept to what these begin with; the tokens that are to be read yet, at least
        one, because only that gives the next."""
        from mlx_lm.models.cache import (
            can_trim_prompt_cache,
            make_prompt_cache,
            trim_prompt_cache,
        )

        pairs = enumerate(zip(self._known, tokens[:-1], strict=False))
        same = next((at for at, (a, b) in pairs if a != b), min(len(self._known), len(tokens) - 1))
        too_many = len(self._known) - same
        if self._cache is None or (too_many and not can_trim_prompt_cache(self._cache)):
            self._cache, same = make_prompt_cache(self._net), 0
        elif too_many:
            trim_prompt_cache(self._cache, too_many)
        self._known = list(tokens[:same])
        return list(tokens[same:])

    def _advance(self, tokens: list[int]) -> mx.array:
        """Let the model read them; logits (vocabulary,) of what follows on the last one."""
        cache, self._cache = self._cache or [], None  # what goes wrong in between leaves none
        known, self._known = self._known, []
        before = self._clock()
        logits: mx.array = self._net(mx.array([tokens]), cache=cache)[0, -1]
        # Of several, nobody asks what follows on them.
        mx.eval(logits if len(tokens) == 1 else [entry.state for entry in cache])
        self._adapt(len(tokens), self._clock() - before)
        self._cache, self._known = cache, [*known, *tokens]
        return logits

    def _draw(self, logits: mx.array) -> int:
        drawn: Any = mx.argmax(logits) if not self._temperature else self._sample(logits)
        return int(drawn.item())

    def _sample(self, logits: mx.array) -> mx.array:
        if self._key is None:
            self._key = mx.random.key(self._seed)
        self._key, key = mx.random.split(self._key)
        scaled = logits.astype(mx.float32) / self._temperature
        drawn: mx.array = mx.random.categorical(scaled, key=key)
        return drawn

    def _adapt(self, size: int, seconds: float) -> None:
        """Read more or fewer in the next turn, as this one was short or long. It may take twice as
        long as a token does, or 60 ms; of a large model twice as many hardly take longer."""
        if size == 1:
            self._token_seconds = min(self._token_seconds, seconds)
        most = 2 * max(_TURN_SECONDS, self._token_seconds)
        more = seconds - self._token_seconds  # for all but one
        twice = seconds + (more * size / (size - 1) if size > 1 else seconds)
        if seconds > 1.2 * most:
            self._size = max(1, int(size * most / seconds))
        elif twice <= most and size == self._size:
            self._size = min(_MOST, 2 * size)
