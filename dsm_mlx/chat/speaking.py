"""The assistant's side: pieces of text to speech to a player, and which words were heard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import Any, Protocol

import numpy as np

from dsm_mlx.chat.player import Plays
from dsm_mlx.chat.spelling import Spelling
from dsm_mlx.results import Word
from dsm_mlx.runtime.waiting import Call
from dsm_mlx.tts.stream import SpeechStream

_LOOK = 0.02  # seconds between two looks at how far the player is
_END_SECONDS = 2.0  # that what is cancelled has to end


class Told(Protocol):
    """Who is told of an utterance, in the event loop."""

    def wrote(self, piece: str) -> None:
        """A piece of its text came."""

    def plays(self) -> None:
        """Its first sound is given to the player now."""

    def sounds(self, ago: float) -> None:
        """Its first sound was heard, so many seconds ago."""

    def said(self, piece: str) -> None:
        """A piece of its text was heard."""

    def broke_off(self, error: Exception) -> str | None:
        """Its text ends early; what is said then, and is no part of it."""


class Speaks(Protocol):
    """Says something once. An `Utterance` is one, which see."""

    @property
    def first_token(self) -> float | None: ...

    @property
    def first_sound(self) -> float | None: ...

    @property
    def text(self) -> str: ...

    @property
    def heard(self) -> str: ...

    async def say(self, pieces: AsyncGenerator[str, None]) -> None: ...

    def stop(self) -> None: ...


class Utterance:
    """Something that the assistant says, from its first piece of text to its last sound.

    first_token, first_sound: what `time.monotonic` was when the first piece of text came, and when
    the first sound was heard.
    """

    def __init__(self, open_speech: Callable[[], SpeechStream], player: Plays, told: Told):
        """open_speech: may block."""
        self._open_speech, self._player, self._told = open_speech, player, told
        self._spelling = Spelling()
        self._words: list[Word] = []  # whose sound was given to the player
        self._spoken = 0  # how many of them were heard
        self._speech: SpeechStream | None = None
        self._turn: int | None = None  # the player's
        self._stopped = False
        self._first_write: float | None = None
        self.first_token: float | None = None
        self.first_sound: float | None = None

    @property
    def text(self) -> str:
        """What was written so far."""
        return self._spelling.text

    @property
    def heard(self) -> str:
        """What of the text was heard so far."""
        return self._spelling.spoken

    def heard_until(self, second: float) -> str:
        """What of the text is heard within so many seconds."""
        spelling = Spelling()
        spelling.write(self.text)
        for word in self._words:
            if word.end <= second:
                spelling.speak(word.text)
        return spelling.spoken

    async def say(self, pieces: AsyncGenerator[str, None]) -> None:
        """Say the pieces as they come, until all was heard.

        Raises:
            AudioError: the player's.
            Exception: the speech's. An error of the pieces is told, and what came of them is said.
        """
        opening = asyncio.ensure_future(self._open())
        writing = asyncio.ensure_future(self._write(pieces, opening))
        following = asyncio.ensure_future(self._follow())
        try:
            speech = await asyncio.shield(opening)
            turn = self._turn = await self._player.begin()
            async for chunk in speech:
                self._words += chunk.words
                await self._play(turn, chunk.audio)
            await self._player.drain()
            self._look()
            if not (speech.cut_short or self._stopped):
                self._hear(self._spelling.finish())
        except Exception:
            with suppress(Exception):  # the player's own, perhaps
                self.stop()
            raise
        finally:
            self._fall_silent()
            await end(opening, writing, following)
            self._speech = None  # what was heard may be asked for much longer

    def stop(self) -> None:
        """Fall silent now. Whoever waits in `say` is to be cancelled then."""
        try:
            if not self._stopped and self._turn is not None:
                self._hear_until(self._player.stop())
        finally:
            self._fall_silent()

    def _fall_silent(self) -> None:
        self._stopped = True
        if self._speech is not None:
            self._speech.cancel()

    async def _open(self) -> SpeechStream:
        """In a thread, which may find when it is done that nobody waits any more."""

        def opened() -> SpeechStream:
            self._speech = speech = self._open_speech()
            if self._stopped:
                speech.cancel()
            return speech

        opening = Call(opened)
        await opening.wait_async()
        return opening.result()

    async def _write(
        self, pieces: AsyncGenerator[str, None], opening: asyncio.Future[SpeechStream]
    ) -> None:
        """Errors of the speech are raised by `say`, too."""
        rest: str | None = None
        async with aclosing(pieces):
            while True:
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    break
                except Exception as error:
                    if self._stopped:
                        return
                    rest = self._told.broke_off(error)
                    break
                if self._stopped:
                    return
                if self.first_token is None and piece:
                    self.first_token = time.monotonic()
                self._spelling.write(piece)
                self._told.wrote(piece)
                await _feed(await asyncio.shield(opening), piece)
        speech = await asyncio.shield(opening)
        if rest:
            await _feed(speech, f"\n{rest}")
        with suppress(ValueError):  # it ends inside a tag
            speech.end()

    async def _play(self, turn: int, pcm: np.ndarray) -> None:
        if self._first_write is None:
            self._first_write = time.monotonic()
            self._told.plays()
        await self._player.write(turn, pcm)

    async def _follow(self) -> None:
        while not self._stopped:
            await asyncio.sleep(_LOOK)
            if self._first_write is not None and not self._stopped:
                self._look()

    def _look(self) -> None:
        """How far the player is now."""
        self._hear_until(self._player.position)

    def _hear_until(self, second: float) -> None:
        """So many seconds have been heard, and the words that end within them."""
        if second > 0 and self.first_sound is None and self._first_write is not None:
            self.first_sound = max(self._first_write, time.monotonic() - second)
            self._told.sounds(second)
        while self._spoken < len(self._words) and self._words[self._spoken].end <= second:
            self._spoken += 1
            self._hear(self._spelling.speak(self._words[self._spoken - 1].text))

    def _hear(self, piece: str) -> None:
        if piece:
            self._told.said(piece)


async def _feed(speech: SpeechStream, text: str) -> None:
    with suppress(ValueError):  # a tag that nobody knows is left out, and the rest is said
        await speech.give_async(text)


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel them, and wait until they have ended; 2 s at most."""
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=_END_SECONDS)
    for task in done:
        if not task.cancelled():
            task.exception()  # which asyncio would write into the log otherwise
