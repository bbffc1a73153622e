"""Text to speech as moshi-server has it: a socket to which text goes, and two requests."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import re
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from dsm_mlx import BusyError, CheckpointError, Chunk, Speech
from dsm_mlx.audio import WavWriter, to_s16le
from dsm_mlx.serve import bodies
from dsm_mlx.serve.kyutai import messages
from dsm_mlx.serve.kyutai.opus import OggOpusWriter, OpusError
from dsm_mlx.serve.kyutai.stt import NO_SLOT
from dsm_mlx.serve.models import Models, Slot
from dsm_mlx.serve.sessions import Idle, close, first_of, receive
from dsm_mlx.serve.state import State, state_of
from dsm_mlx.tts.stream import SpeechStream

log = logging.getLogger("dsm_mlx")

FORMATS = ("OggOpus", "OggOpusMessagePack", "Pcm", "PcmMessagePack")
_EOS = b"\0"
_LONGEST_BREAK = 10.0
_BREAK = re.compile(r"""<break\s+time=["'](\d+(?:\.\d*)?)(ms|s)["']\s*/?>""")
_TURNS = 1000


@dataclass(frozen=True)
class Wishes:
    """What a client asks for beside the text."""

    format: str = "OggOpus"
    voice: str | None = None
    seed: int | None = None
    temperature: float | None = None
    cfg: float | None = None

    @classmethod
    def of(cls, values: QueryParams | dict[str, Any], models: Models) -> Wishes:
        """From a query or a JSON object; ValueError for a bad value. Unknown keys do not count, and
        an unknown voice is the default one, so that a voice of another server is no error."""
        format = values.get("format", "OggOpus")
        if format not in FORMATS:
            raise ValueError(f"format (expected one of {', '.join(FORMATS)})")
        seed = _number(values, "seed", int)
        if seed is not None and not 0 <= seed < 1 << 63:
            raise ValueError("seed (expected an integer from 0 up)")
        temperature = _number(values, "temperature", float)
        if temperature is not None and not -100 <= temperature <= 100:
            raise ValueError("temperature (expected -100 to 100)")
        top_k = _number(values, "top_k", int)
        if (temperature or 0) < 0 or (top_k is not None and top_k <= 1):
            temperature = 0.0
        cfg = _number(values, "cfg_alpha", float)
        return cls(
            format,
            models.voice(values.get("voice")),
            seed,
            temperature,
            # Asked for by every client of unmute, whatever the model: taken if it was taught it.
            cfg if models.tts and cfg in models.tts.cfg_values else None,
        )

    @property
    def packed(self) -> bool:
        """Whether the client gets msgpack; else it gets nothing but sound."""
        return self.format.endswith("MessagePack")

    @property
    def options(self) -> dict[str, Any]:
        """Those of the model's `stream` and `synthesize`."""
        return {"temperature": self.temperature, "cfg": self.cfg, "seed": self.seed}


def _number(values: Any, key: str, kind: type) -> Any:
    value = values.get(key)
    if value is None:
        return None
    try:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            return kind(value)
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"{key} (expected a number)")


async def socket(websocket: WebSocket) -> None:
    """`/api/tts_streaming`."""
    state = state_of(websocket)
    metrics = state.metrics.tts
    try:
        wishes = Wishes.of(websocket.query_params, state.models)
    except ValueError as error:
        raise HTTPException(400, f"a bad value of {error}") from None
    await websocket.accept()
    try:
        encoder = Encoder.of(wishes.format)
        slot = state.models.speakers.take()
    except OpusError as error:
        await _end(websocket, wishes, str(error))
        return
    except BusyError:
        metrics.refused += 1
        await _end(websocket, wishes, NO_SLOT)
        return
    metrics.connections += 1
    with slot, state.sessions.running():
        if wishes.packed:
            await websocket.send_bytes(messages.READY)
        speaking = Speaking(websocket, slot, state, wishes, encoder)
        try:
            await speaking.run()
        finally:
            metrics.steps.add(speaking.frames)


class Speaking:
    """One client, from Ready to the end.

    One task reads what the client sends, so that its leaving is seen at once; the other opens the
    stream when it is known which voice it is to have, and sends the sound.
    """

    def __init__(
        self,
        websocket: WebSocket,
        slot: Slot[SpeechStream],
        state: State,
        wishes: Wishes,
        encoder: Encoder,
    ):
        self._websocket, self._slot, self._state = websocket, slot, state
        self._wishes, self._encoder = wishes, encoder
        self._voice: str | np.ndarray | None = wishes.voice
        self._text: deque[str] = deque()  # that came before the stream was open
        self._begun, self._ended = asyncio.Event(), asyncio.Event()
        self._characters = 0
        self._idle = Idle(state.options.limits.speech_idle)
        self._stream: SpeechStream | None = None
        self.frames = 0

    async def run(self) -> None:
        try:
            works = self._read(), self._speak(), self._stop()
            await first_of(*works, self._idle.too_long())
            await close(self._websocket)
        except BusyError:  # no memory for another row
            await self._end(NO_SLOT)
        except messages.MessageError:
            await close(self._websocket, 1007)
        except RefusedError as error:
            await self._end(str(error))
        except asyncio.TimeoutError:
            await self._end("no text came for too long")

    async def _end(self, message: str) -> None:
        await _end(self._websocket, self._wishes, message)

    # ---- what comes in

    async def _read(self) -> None:
        while True:
            message = await receive(self._websocket)
            self._idle.came()
            if self._ended.is_set():
                continue  # nothing counts any more, but the client may leave
            if isinstance(message, str):
                self._say(message)
            elif message == _EOS:
                self._no_more()
            else:
                self._take(messages.read(message))

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "Text":
            self._say(messages.string(message, "text"))
        elif kind == "Voice":
            voice = messages.embedding(message)
            if not self._begun.is_set():
                self._voice = voice
        elif kind == "Eos":
            self._no_more()
        elif kind != "Ping":
            raise messages.MessageError("a type that nobody knows")

    def _say(self, text: str) -> None:
        """Each message ends a word."""
        self._characters += len(text)
        if self._characters > self._state.options.limits.text:
            raise RefusedError("too much text for one connection")
        text = cleaned(text) + " "
        if self._stream is None:
            self._text.append(text)
        else:
            say(self._stream, text)
        if text.strip():
            self._begun.set()

    def _no_more(self) -> None:
        self._ended.set()
        if self._stream is not None:
            end(self._stream)
        self._begun.set()

    async def _stop(self) -> None:
        """When the server stops, what was given is said; then it is over."""
        await self._state.sessions.stopping.wait()
        if not self._ended.is_set():
            self._no_more()
        await asyncio.Event().wait()

    # ---- what goes out

    async def _speak(self) -> None:
        await self._begun.wait()
        if not self._text:
            return
        try:
            stream = await opened(self._slot, self._voice, **self._wishes.options)
        except (CheckpointError, TypeError, ValueError):  # of an embedding
            raise RefusedError("this model cannot speak with that voice") from None
        for text in self._text:
            say(stream, text)
        self._stream = stream
        if self._ended.is_set():
            end(stream)
        if header := self._encoder.header():
            await self._websocket.send_bytes(header)
        async for chunk in stream:
            self.frames += 1
            for word in chunk.words if self._wishes.packed else ():
                await self._websocket.send_bytes(messages.spoken(word.text, word.start, word.end))
            await self._websocket.send_bytes(self._encoder.frame(chunk.audio))
            self._idle.came()


class RefusedError(Exception):
    """What a client asks for cannot be; what to tell him."""


class Encoder:
    """Frames of sound as one of the formats."""

    def __init__(self, packed: bool):
        self._packed = packed

    @classmethod
    def of(cls, format: str) -> Encoder:
        """OpusError where Opus cannot be had."""
        kind = _Opus if format.startswith("OggOpus") else cls
        return kind(format.endswith("MessagePack"))

    def header(self) -> bytes:
        """What goes before the first frame."""
        return b""

    def frame(self, pcm: np.ndarray) -> bytes:
        """float32 (1920,) -> one message."""
        return messages.audio(pcm) if self._packed else pcm.astype("<f4").tobytes()


class _Opus(Encoder):
    def __init__(self, packed: bool):
        super().__init__(packed)
        self._writer = OggOpusWriter()

    def header(self) -> bytes:
        return self._wrapped(self._writer.header())

    def frame(self, pcm: np.ndarray) -> bytes:
        return self._wrapped(self._writer.frame(pcm))

    def _wrapped(self, pages: bytes) -> bytes:
        return messages.ogg_opus(pages) if self._packed else pages


async def _end(websocket: WebSocket, wishes: Wishes, message: str) -> None:
    """Say why it is over, and close. Who gets nothing but sound gets the reason with the close."""
    if wishes.packed:
        await websocket.send_bytes(messages.error(message))
        await close(websocket)
    else:
        await close(websocket, 1011, message)


async def opened(slot: Slot[SpeechStream], voice: Any, **options: Any) -> SpeechStream:
    """A stream with a voice; one that is known by name, but cannot be had (its file is damaged, or
    on the hub and there is no network), is the default one, as an unknown one is."""
    try:
        return await slot.open(voice=voice, **options)
    except CheckpointError as error:
        if not isinstance(voice, str):
            raise
        log.warning("the default voice speaks instead: %s", error)
        return await slot.open(voice=None, **options)


def cleaned(text: str) -> str:
    """A text as Kyutai's clients may write it: without dashes, and with breaks of 10 s at most."""
    return _BREAK.sub(_shorter, text.replace("\u2013", ""))


def _shorter(tag: re.Match[str]) -> str:
    seconds = float(tag[1]) / (1000 if tag[2] == "ms" else 1)
    return f'<break time="{min(max(seconds, 0.08), _LONGEST_BREAK):g}s"/>'


def say(stream: SpeechStream, text: str) -> None:
    """Tags that nobody knows are left out, and the rest is said."""
    with suppress(ValueError):
        stream.feed(text)


def end(stream: SpeechStream) -> None:
    with suppress(ValueError):  # inside a tag
        stream.end()


# ---- requests


async def speak(request: Request) -> Response:
    """POST `/api/tts_streaming`: `{"text", "voice"}` -> a WAV file while it is made."""
    state = state_of(request)
    limits = state.options.limits
    wanted = await bodies.json_object(request, limits.json, limits.wait)
    text, voice = wanted.get("text"), wanted.get("voice")
    if not isinstance(text, str) or not isinstance(voice, str):
        raise HTTPException(422, "text and voice are needed, both strings")
    if len(text) > limits.text:
        raise HTTPException(413, f"the text is too long (at most {limits.text} characters)")
    chunks = _chunks(state, cleaned(text), state.models.voice(voice))
    try:
        # What goes wrong, goes wrong before the answer.
        first = await bodies.unless_gone(request, anext(chunks, None))
    except BusyError:
        raise HTTPException(500, NO_SLOT) from None

    async def wav() -> AsyncIterator[bytes]:
        try:
            yield wav_header()
            if first is not None:
                yield to_s16le(first.audio)
            async for chunk in chunks:
                yield to_s16le(chunk.audio)
        finally:
            await chunks.aclose()

    return StreamingResponse(wav(), media_type="audio/wav")


async def _chunks(state: State, text: str, voice: str | None) -> AsyncIterator[Chunk]:
    """The sound of a text, on a slot of its own; waits for one."""
    with (
        await state.models.speakers.wait(state.options.limits.wait) as slot,
        state.sessions.running(),
    ):
        stream = await opened(slot, voice)
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


async def synthesize(request: Request) -> Response:
    """POST `/api/tts`: turns of text -> a WAV file, or with `return_timestamps` JSON with the file
    and the words."""
    state = state_of(request)
    limits = state.options.limits
    wanted = await bodies.json_object(request, limits.json, limits.wait)
    try:
        wishes = Wishes.of({"seed": 42, **wanted, "format": "Pcm"}, state.models)
    except ValueError as error:
        raise HTTPException(400, f"a bad value of {error}") from None
    text = _turns(wanted, wishes, state)
    try:
        async with state.models.job(limits.wait):
            work = state.models.tts.asynthesize(text, wishes.voice, **wishes.options)
            with state.sessions.running():
                speech = await bodies.unless_gone(request, work)
    except ValueError:
        raise HTTPException(400, "of tags, a text may hold <break time=…/> alone") from None
    except CheckpointError:
        raise HTTPException(500, "a voice could not be had") from None
    except BusyError:
        raise HTTPException(500, NO_SLOT) from None
    return _answer(speech, bool(wanted.get("return_timestamps")))


def _turns(wanted: dict[str, Any], wishes: Wishes, state: State) -> list[tuple[str | None, str]]:
    """Whose turn it is to say what; several voices take turns."""
    text, names = wanted.get("text"), wanted.get("voices")
    text = [text] if isinstance(text, str) else text
    if not isinstance(text, list) or not all(isinstance(turn, str) for turn in text) or not text:
        raise HTTPException(422, "text is needed, a list of strings")
    most = state.options.limits.whole_text
    if sum(map(len, text)) > most or len(text) > _TURNS:
        raise HTTPException(413, f"the text is too long (at most {most} characters)")
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    voices = [state.models.voice(name) for name in names] if named else []
    voices = voices[:2] or [wishes.voice]
    return [(voices[i % len(voices)], cleaned(turn)) for i, turn in enumerate(text)]


def _answer(speech: Speech, with_times: bool) -> Response:
    file = io.BytesIO()
    WavWriter(file, speech.sample_rate).write(speech.audio)
    if not with_times:
        return Response(file.getvalue(), media_type="audio/wav")
    words = [{"text": w.text, "start_s": w.start, "stop_s": w.end} for w in speech.words]
    return JSONResponse({"wav": base64.b64encode(file.getvalue()).decode(), "transcript": words})
