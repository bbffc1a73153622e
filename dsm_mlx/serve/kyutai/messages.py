"""Kyutai's messages: one msgpack map a frame, `type` first.

Samples and probabilities go out as 32-bit floats, times as 64-bit floats, bytes as arrays of
integers; what comes in may be of any number type, in any order, with keys that nobody knows.

Source: moshi-server of kyutai-labs/moshi at e6a55d2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgpack
import numpy as np

_MOST_NUMBERS = 1 << 22  # in an array: what 16 MiB of 32-bit floats hold, and a bit


class MessageError(Exception):
    """Something that no client of Kyutai's protocol would send."""


def _packed(**fields: Any) -> bytes:
    return msgpack.packb(fields)


def _packed_f32(**fields: Any) -> bytes:
    return msgpack.packb(fields, use_single_float=True)


READY = _packed(type="Ready")
EOS = _packed(type="Eos")


def step(index: int, probabilities: Iterable[float], waiting: int) -> bytes:
    """probabilities: that nobody speaks for 0.5, 1, 2 and 3 s. waiting: samples not yet heard."""
    return _packed_f32(
        type="Step", step_idx=index, prs=[float(p) for p in probabilities], buffered_pcm=waiting
    )


def word_fields(text: str, start: float) -> dict[str, Any]:
    """A word that was heard. start: in seconds of the client's sound."""
    return {"type": "Word", "text": text, "start_time": float(start)}


def end_fields(stop: float) -> dict[str, Any]:
    """The end of the last word, in seconds of the client's sound."""
    return {"type": "EndWord", "stop_time": float(stop)}


def word(text: str, start: float) -> bytes:
    """What `word_fields` has, as a message."""
    return _packed(**word_fields(text, start))


def end_word(stop: float) -> bytes:
    """What `end_fields` has, as a message."""
    return _packed(**end_fields(stop))


def marker(id: int) -> bytes:
    """All before the client's mark of that number has been heard."""
    return _packed(type="Marker", id=id)


def error(message: str) -> bytes:
    """Why it is over."""
    return _packed(type="Error", message=message)


def audio(pcm: np.ndarray) -> bytes:
    """pcm: float32 (samples,)."""
    return _packed_f32(type="Audio", pcm=pcm.tolist())


def text(text: str) -> bytes:
    """What is to be said, whole words."""
    return _packed(type="Text", text=text)


def ogg_opus(data: bytes) -> bytes:
    """Pages of an Ogg Opus stream."""
    return _packed(type="OggOpus", data=list(data))


def spoken(text: str, start: float, stop: float) -> bytes:
    """A word that is said from `start` to `stop`, in seconds of the sound that was sent."""
    return _packed(type="Text", text=text, start_s=float(start), stop_s=float(stop))


# ---- what comes in


def read(data: bytes) -> dict[str, Any]:
    """A message as a dict whose `type` is a string. MessageError for anything else."""
    try:
        message = msgpack.unpackb(data, max_array_len=_MOST_NUMBERS, max_map_len=64)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise MessageError("no message")
    return message


def samples(message: dict[str, Any], key: str = "pcm") -> np.ndarray:
    """The numbers of a message as float32 (samples,)."""
    values = message.get(key)
    if not isinstance(values, list):
        raise MessageError(f"{key} is no array")
    try:
        array = np.array(values)
    except ValueError:  # of several lengths
        raise MessageError(f"{key} holds more than numbers") from None
    if values and (array.ndim != 1 or array.dtype.kind not in "fiu"):
        raise MessageError(f"{key} holds more than numbers")
    with np.errstate(over="ignore"):  # infinite then, which is refused as any such sound
        return array.astype(np.float32)


def octets(message: dict[str, Any], key: str = "data") -> bytes:
    """The bytes of a message, sent as an array of integers or as msgpack's own."""
    value = message.get(key)
    try:
        if isinstance(value, (bytes, list)):
            return bytes(value)
    except (TypeError, ValueError):
        pass
    raise MessageError(f"{key} is no array of bytes")


def whole(message: dict[str, Any], key: str) -> int:
    """An integer of 64 bits."""
    value = message.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not -(1 << 63) <= value < 1 << 63:
        raise MessageError(f"{key} is no integer")
    return value


def string(message: dict[str, Any], key: str) -> str:
    """A text; MessageError for anything else."""
    value = message.get(key)
    if not isinstance(value, str):
        raise MessageError(f"{key} is no string")
    return value


def embedding(message: dict[str, Any]) -> np.ndarray:
    """A voice as Kyutai's clients send it: float32 of 1 to 3 dimensions; one is a single frame."""
    values, shape = samples(message, "embeddings"), message.get("shape")
    sizes = shape if isinstance(shape, list) else []
    whole = all(type(size) is int and size > 0 for size in sizes)
    if not whole or not 1 <= len(sizes) <= 3 or math.prod(sizes) != values.size:
        raise MessageError("shape is not that of the embeddings")
    return values.reshape(sizes if len(sizes) > 1 else (1, *sizes))
