"""Saying a text, as all protocols have it: a slot, a voice, the text, and the sound as it comes."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import partial
from typing import Any

from dsm_mlx import CheckpointError, Chunk, TextToSpeech
from dsm_mlx.audio import WavWriter
from dsm_mlx.serve.models import Slot, served
from dsm_mlx.serve.state import State
from dsm_mlx.tts.stream import SpeechStream

log = logging.getLogger("dsm_mlx")


async def chunks_of(
    state: State, text: str, voice: str | None, **options: Any
) -> AsyncGenerator[Chunk, None]:
    """The sound of a text, on a slot of its own. BusyError where none is free for too long.

    options: of `TextToSpeech.stream`.
    """
    with (
        await served(state.models.speakers).wait(state.options.limits.wait) as slot,
        state.sessions.running(),
    ):
        stream = await opened(slot, voice, **options)
        say(stream, text)
        end(stream)
        async for chunk in stream:
            yield chunk


def wav_header() -> bytes:
    """Of a WAV file that goes on until its end."""
    file = _Pipe()
    WavWriter(file)
    return file.getvalue()


class _Pipe(io.BytesIO):
    """What cannot go back."""

    def seekable(self) -> bool:
        return False


async def opened(slot: Slot[SpeechStream], voice: Any, **options: Any) -> SpeechStream:
    """The stream of a slot, as `stream_of` opens it."""
    return await slot.open_by(partial(stream_of, slot.model, voice, **options))


def stream_of(model: TextToSpeech, voice: Any, **options: Any) -> SpeechStream:
    """A stream with a voice; one that is known by name, but cannot be had (its file is damaged, or
    on the hub and there is no network), is the default one, as an unknown one is."""
    try:
        return model.stream(voice=voice, **options)
    except CheckpointError as error:
        if not isinstance(voice, str):
            raise
        log.warning("the default voice speaks instead: %s", error)
        return model.stream(voice=None, **options)


def say(stream: SpeechStream, text: str) -> None:
    """Tags that nobody knows are left out, and the rest is said."""
    with suppress(ValueError):
        stream.feed(text)


def end(stream: SpeechStream) -> None:
    """No more text comes; a tag that is not closed is left out."""
    with suppress(ValueError):  # inside a tag
        stream.end()
