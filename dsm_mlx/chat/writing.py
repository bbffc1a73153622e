"""An answer in writing alone."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from dsm_mlx.chat.speaking import Told


class Written:
    """`Speaks` without a sound: what was written was heard."""

    def __init__(self, told: Told):
        self._told = told
        self.text = ""
        self._stopped = False
        self.first_token: float | None = None
        self.first_sound: float | None = None

    @property
    def heard(self) -> str:
        return self.text

    async def say(self, pieces: AsyncGenerator[str, None]) -> None:
        async with aclosing(pieces):
            try:
                async for piece in pieces:
                    self._write(piece)
            except Exception as error:
                if not self._stopped and (rest := self._told.broke_off(error)):
                    self._write(rest)

    def _write(self, piece: str) -> None:
        if self.first_token is None and piece:
            self.first_token = time.monotonic()
        self.text += piece
        self._told.wrote(piece)

    def stop(self) -> None:
        self._stopped = True
