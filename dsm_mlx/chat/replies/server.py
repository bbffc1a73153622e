"""Replies of a language model behind a server: Ollama, LM Studio, mlx_lm.server, llama.cpp, …"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from dsm_mlx.chat.replies.completions import NonsenseError, Piece, events, models_of, piece_of
from dsm_mlx.chat.replies.exchange import BROKE_OFF, Address, Exchange, RefusedError, is_stream
from dsm_mlx.chat.replies.thoughts import Thoughts
from dsm_mlx.checks import check_number, check_text, check_whole
from dsm_mlx.errors import ReplyError
from dsm_mlx.messages import cut
from dsm_mlx.runtime.waiting import Both

log = logging.getLogger("dsm_mlx")

TIMEOUT = 60.0  # seconds: a server may load its model for the first reply
_STRANGER = "what it sends is no chat completion"


class ServerReply:
    """Asks an OpenAI-compatible server for chat completions, as a stream.

    What it gives is for `for` and for `async for`; to `close` it, from any thread, closes the
    connection at once, also while it waits. What a model thinks (between <think> and </think>) is
    left out.

    Args:
        url: `http://localhost:11434`, or with a path such as `https://host/api/v1`; without one,
            /v1 is asked.
        model: its name; None: the first that the server lists which is not for embeddings.
        key: shown as a bearer token. It is in no message of ours.
        temperature, max_tokens: None: what the server does by itself.
        timeout: seconds without a piece of text after which the server is given up.
        extra: more entries of the request, such as {"reasoning_effort": "none"}.

    Raises:
        ValueError, TypeError: an argument that cannot be.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        key: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        timeout: float = TIMEOUT,
        extra: Mapping[str, Any] | None = None,
    ):
        if model is not None:
            check_text("model", model)
        if temperature is not None:
            temperature = check_number("temperature", temperature, 0.0, 10.0)
        if max_tokens is not None:
            max_tokens = check_whole("max_tokens", max_tokens, 1)
        self._address = Address.of(url, key)
        self._timeout = check_number("timeout", timeout, 0.01, 86_400.0)
        self._model = model
        given = {"temperature": temperature, "max_tokens": max_tokens}
        self._asked = {name: value for name, value in given.items() if value is not None}
        self._asked |= dict(extra or {})

    def __call__(self, messages: Sequence[dict[str, Any]]) -> Both[str]:
        """The reply's text in pieces.

        Raises, where the next piece is taken:
            ReplyError: there is no server, it answers with an error, it sends something else, or
                what it sends breaks off or stalls.
        """
        exchange = Exchange(self._address, self._timeout)
        return Both(self._pieces(exchange, list(messages)), exchange.break_off)

    def check(self) -> str:
        """Ask the server now, so that what is wrong is told before anybody speaks.

        Returns the name of the model. Raises as the pieces of a reply do; a server that lists no
        models is taken at its word if a model was named.
        """
        exchange = Exchange(self._address, self._timeout)
        try:
            exchange.request("GET", "/models")
            if self._model is None:
                self._model = self._first_model(exchange.answer())
        except RefusedError as error:
            if self._model is None or error.status in (401, 403):
                raise
        finally:
            exchange.close()
        return self._model

    def _pieces(
        self, exchange: Exchange, messages: list[dict[str, Any]]
    ) -> Generator[str, None, None]:
        try:
            yield from self._told(exchange, messages)
        except Exception:
            if not exchange.broken_off:  # by whoever did not want any more of it
                raise
        finally:
            exchange.close()

    def _told(
        self, exchange: Exchange, messages: list[dict[str, Any]]
    ) -> Generator[str, None, None]:
        if self._model is None:
            exchange.request("GET", "/models")
            self._model = self._first_model(exchange.answer())
        asked = {"model": self._model, "messages": messages, "stream": True, **self._asked}
        headers = exchange.request("POST", "/chat/completions", json.dumps(asked).encode())
        stream, thoughts = is_stream(headers), Thoughts()
        ended = not stream
        for data in events(exchange.lines()) if stream else [exchange.answer()]:
            piece = self._piece(data)
            if piece.text:
                exchange.go_on()
                if text := thoughts(piece.text):
                    yield text
            if piece.last:
                ended = True
                break
        if rest := thoughts.end():
            yield rest
        if not ended:
            raise self._error(BROKE_OFF)

    def _piece(self, data: str | bytes) -> Piece:
        try:
            piece = piece_of(data)
        except NonsenseError:
            raise self._error(_STRANGER) from None
        if piece.error is not None:
            raise self._error(piece.error)
        return piece

    def _error(self, told: str) -> ReplyError:
        return ReplyError(self._address.told(told))

    def _first_model(self, body: bytes) -> str:
        try:
            names = models_of(body)
        except NonsenseError:
            raise self._error("what it says of its models is nothing known") from None
        able = [name for name in names if "embed" not in name.lower()]
        if not able:
            raise self._error("it has no model")
        log.info("using model %s of %s", cut(able[0], 120), cut(self._address.url, 120))
        return able[0]
