"""Text to speech by a server, as the tts command uses a model."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from dsm_mlx.cli.remote import Connection, Server
from dsm_mlx.cli.remote_spelling import Spelling
from dsm_mlx.results import Chunk, Word
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.tts.tags import is_unclosed_break
from dsm_mlx.tts.text.language import KNOWN
from dsm_mlx.tts.text.rules import WithoutNumbers
from dsm_mlx.tts.text.wording import wording_of

_PATH = "/api/tts_streaming"
_AHEAD = 250  # messages: 20 s of sound, and then the server has to wait


class RemoteTextToSpeech:
    """What the command needs of a `TextToSpeech`."""

    sample_rate = 24_000

    def __init__(self, server: Server):
        self._server = server

    def stream(
        self,
        voice: str | None,
        temperature: float | None = None,
        cfg: float | None = None,
        seed: int | None = None,
        normalize: str | WithoutNumbers | None = None,
        lexicon: dict[str, str] | None = None,
    ) -> RemoteSpeech:
        wording = wording_of(normalize, lexicon, KNOWN)
        wishes = {"voice": voice, "temperature": temperature, "cfg_alpha": cfg, "seed": seed}
        query = {"format": "PcmMessagePack"}
        query |= {name: str(value) for name, value in wishes.items() if value is not None}
        connection = Connection(self._server, f"{_PATH}?{urlencode(query)}", _AHEAD)
        return RemoteSpeech(connection, Spelling(wording) if wording.changes else None)

    def __enter__(self) -> RemoteTextToSpeech:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class RemoteSpeech:
    """What the command needs of a `SpeechStream`."""

    cut_short = False  # a server says all of it

    def __init__(self, connection: Connection, spelling: Spelling | None = None):
        """spelling: None: the server reads the text as it stands."""
        self._connection, self._spelling = connection, spelling
        self._text = ""  # the beginning of a word
        self._ended = self._over = False

    def feed(self, text: str) -> None:
        """More text, cut anywhere. The server takes every message for whole words.

        ValueError for a tag that is no break, if there is a spelling; the rest is said.
        """
        if self._spelling:
            self._spelling.feed(text, self._say)
            return
        text = self._text + text
        cut = max((i for i, sign in enumerate(text) if sign.isspace()), default=-1) + 1
        tag = text.rfind("<", 0, cut)
        if tag >= 0 and is_unclosed_break(text[tag:]):
            cut = tag
        self._say(text[:cut])
        self._text = text[cut:]

    def end(self) -> None:
        """No more text follows."""
        try:
            if self._spelling:
                self._spelling.end(self._say)
            self._say(self._text)
        finally:
            self._text, self._ended = "", True
            self._connection.send(messages.EOS)

    @property
    def left_out(self) -> tuple[str, ...]:
        """As that of a `SpeechStream`, as far as it is known here."""
        return self._spelling.left_out if self._spelling else ()

    def _say(self, text: str) -> None:
        if text and not text.isspace():
            self._connection.send(messages.text(text))

    def __iter__(self) -> RemoteSpeech:
        return self

    def __next__(self) -> Chunk:
        """The next 80 ms of sound, with the words that begin in it.

        Raises ServerError where the server breaks off, BusyError where it has no room.
        """
        words: list[Word] = []
        try:
            while (message := self._connection.receive()) is not None:
                if message["type"] == "Audio":
                    return Chunk(messages.samples(message), words)
                if message["type"] == "Text":
                    words += self._written(_word(message))
        except EOFError:
            self._over = True
            if not (self._ended and self._connection.closed_well):
                raise self._connection.gone() from None
        except (KeyError, TypeError, ValueError, messages.MessageError):
            raise self._connection.stranger() from None
        raise StopIteration

    def _written(self, word: Word) -> list[Word]:
        return self._spelling.written(word) if self._spelling else [word]

    def __enter__(self) -> RemoteSpeech:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close(at_once=not self._over)


def _word(message: dict[str, Any]) -> Word:
    return Word(str(message["text"]), float(message["start_s"]), float(message["stop_s"]))
