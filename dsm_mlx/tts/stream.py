"""A live stream: push text as it is written, pull sound."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from dsm_mlx.results import Chunk
from dsm_mlx.tts.engine import Batch
from dsm_mlx.tts.session import Session


class SpeechStream:
    """Text to speech as the text comes in. Made by `TextToSpeech.stream`.

    Any thread may feed, end or cancel while another one iterates. Iterating waits for text where
    more is needed to go on as if all of it had been known, so one that is not ended never stops.
    Leaving a `with` block cancels what has not been said.
    """

    def __init__(self, rows: Batch, session: Session):
        self._rows, self._session = rows, session
        self._pull = threading.Lock()
        self._cancelled = False
        self._closed = False

    def feed(self, text: str) -> None:
        """More text, cut anywhere: any split gives the same speech.

        Raises:
            ValueError: it holds a tag other than `<break time="..."/>` (the tag is left out and
                the stream goes on), or the text has ended.
        """
        if not isinstance(text, str):
            raise ValueError(f"text is {type(text).__name__} (expected str)")
        self._session.script.feed(text)

    def end(self) -> None:
        """No more text follows. May be called twice.

        Raises:
            ValueError: the text ends inside a break tag; the rest is said.
        """
        self._session.script.end()

    def cancel(self) -> None:
        """Fall silent: the iteration ends within a frame. What a player holds is the player's."""
        self._cancelled = True
        self._session.script.wake()
        if self._pull.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._pull.release()

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        """The next 80 ms of sound, with the words that begin in it."""
        with self._pull:
            try:
                while not self._cancelled and not self._session.done:
                    chunks = self._rows.run()
                    if chunks:
                        return chunks[0]
                    self._session.script.wait(lambda: self._cancelled)
            except BaseException:
                self._cancelled = True
                self._close()
                raise
            self._close()
            raise StopIteration

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._rows.close()

    def __enter__(self) -> SpeechStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()
