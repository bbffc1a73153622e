"""A client's sound on its way to whoever hears it."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsm_mlx.chat.hearing import Cut
from dsm_mlx.serve.inbox import Inbox
from dsm_mlx.serve.openai.fields import WishError
from dsm_mlx.serve.openai.incoming import AHEAD, PIECE, Sound


class Ear:
    """The buffer of the protocol, and the source of a conversation: blocks of float32 at 24 kHz,
    and where the client cuts them."""

    def __init__(self, format: dict[str, Any]):
        self._sound = Sound(format)
        self._inbox: Inbox[np.ndarray | Cut] = Inbox()
        self._waiting = 0  # samples in it
        self._since_cut = 0  # samples

    async def room(self) -> None:
        """Until more may come."""
        while self._waiting > AHEAD or self._inbox.is_crowded:
            await self._inbox.less()

    async def first(self) -> None:
        """Until any sound has come."""
        await self._inbox.filled()

    def use(self, format: dict[str, Any]) -> None:
        """Of what comes from now on."""
        self._sound.use(format)

    def append(self, audio: Any) -> None:
        """audio: base64. WishError and AudioError."""
        self._put(self._sound.decoded(audio))

    def commit(self) -> None:
        """A turn ends here. WishError where it is empty."""
        self._put(self._sound.rest())
        if not self._since_cut:
            message = "the buffer is empty, there is nothing to commit"
            raise WishError(message, "", "input_audio_buffer_commit_empty")
        self._cut(kept=True)

    def clear(self) -> bool:
        """What came since the last cut shall not have been said. Whether any of it is known, so
        that there is a cut."""
        self._sound.clear()
        waiting = self._inbox.items
        while waiting and isinstance(pcm := waiting[-1], np.ndarray):
            waiting.pop()
            self._waiting -= pcm.size
            self._since_cut -= pcm.size
        known = self._since_cut > 0
        if known:
            self._cut(kept=False)
        return known

    def _put(self, pcm: np.ndarray) -> None:
        for start in range(0, pcm.size, PIECE):
            self._inbox.put(pcm[start : start + PIECE])
        self._waiting += pcm.size
        self._since_cut += pcm.size

    def _cut(self, kept: bool) -> None:
        self._inbox.put(Cut(kept))
        self._since_cut = 0

    # ---- as a source

    def __aiter__(self) -> Ear:
        return self

    async def __anext__(self) -> np.ndarray | Cut:
        await self._inbox.filled()
        block = self._inbox.take()
        if isinstance(block, np.ndarray):
            self._waiting -= block.size
        return block
