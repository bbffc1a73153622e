"""A conversation: listening, thinking and speaking, with interruptions handled."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from dsm_mlx.chat.events import Event
from dsm_mlx.options import TurnPolicy
from dsm_mlx.stt.model import SpeechToText
from dsm_mlx.tts.model import TextToSpeech


class Conversation:
    """Talk with whatever writes replies. Events come by `async for`, or by `for`."""

    def __init__(
        self,
        stt: SpeechToText,
        tts: TextToSpeech,
        reply: Callable[[list[dict[str, str]]], Any],
        *,
        source: Iterable[np.ndarray] | AsyncIterable[np.ndarray],
        sink: Any,
        system: str | None = None,
        voice: Any = None,
        turns: TurnPolicy | None = None,
        full_duplex: bool = False,
        patience: float = 0.6,
        settle: float = 0.3,
        sorry: str | None = None,
        speech: Mapping[str, Any] | None = None,
        hearing: Mapping[str, Any] | None = None,
    ):
        raise NotImplementedError

    @property
    def messages(self) -> list[dict[str, str]]:
        raise NotImplementedError

    def say(self, text: str) -> None:
        raise NotImplementedError

    def interrupt(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def __iter__(self) -> Iterator[Event]:
        raise NotImplementedError

    def __aiter__(self) -> AsyncIterator[Event]:
        raise NotImplementedError
