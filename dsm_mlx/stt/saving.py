"""A session as a value: copied for a fork, or as bytes that another process can go on from.

The bytes are a line with the format's number, a digest of the rest, JSON with its length before it,
the sound that waits as float32, and the arrays of the row as a safetensors file. Nothing in them is
ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from dataclasses import asdict
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path

from dsm_mlx.files.tensors import flat, load_safetensors
from dsm_mlx.messages import shown
from dsm_mlx.results import EndOfTurn, Event, Mark, Partial, Pause, Renewed, Word
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.tasks import Task

FORMAT = 3
_TITLE = b"dsm_mlx stream "
_DIGEST, _LENGTH, _LONGEST_TITLE = 16, 8, 80  # bytes
_EVENTS = {kind.__name__: kind for kind in (Word, Partial, Pause, EndOfTurn, Mark, Renewed)}


def plain(session: Session) -> dict[str, Any]:
    """All that a session knows but for the row's arrays, sharing nothing with it. With `changed`
    held and no frame in flight."""
    clock, turns, energy = session.clock, session.turns, session.energy
    return {
        "clock": [clock.heard, clock.audio, list(clock.changes)],
        "words": session.words.plain(),
        "steering": session.steering.plain(),
        "turns": [turns.spoken, turns.low, turns.ignored, turns.high],
        "energy": energy and [energy.quiet, energy.background],
        "level": session.level and session.level.plain(),
        "guard": session.guard.plain(),
        "kept": [kept.pcm for kept in session.guard.kept],
        "renewed": [session.again_samples, session.known, session.floor, session.watched],
        "queue": list(session.queue),
        "events": list(session.events),
        "counts": [session.samples, session.frame, session.untaken],
        "ended": session.ended,
        "partials": [session.partials, session.shown],
    }


def restore(session: Session, values: dict[str, Any]) -> None:
    """Give a new session what `plain` gave."""
    clock, turns = session.clock, session.turns
    clock.heard, clock.audio, changes = values["clock"]
    clock.changes = deque((heard, audio, bool(on)) for heard, audio, on in changes)
    session.words.restore(values["words"])
    session.steering.restore(values["steering"])
    turns.spoken, turns.low, turns.ignored, turns.high = values["turns"]
    if session.energy:
        session.energy.quiet, session.energy.background = values["energy"]
    if session.level:
        session.level.restore(values["level"])
    session.guard.restore(values["guard"], values["kept"])
    session.again_samples, session.known, session.floor, session.watched = values["renewed"]
    session.queue, session.events = deque(values["queue"]), deque(values["events"])
    session.samples, session.frame, session.untaken = values["counts"]
    session.ended = values["ended"]
    session.partials, session.shown = values["partials"]


def packed(state: Any) -> memoryview:
    """The arrays of a row. On the worker's thread, as all that touches arrays."""
    file = io.BytesIO()
    mx.save_safetensors(file, dict(flat(state)))
    return file.getbuffer()


def to_bytes(
    arrays: memoryview, values: dict[str, Any], options: dict[str, Any], identity: str
) -> bytes:
    """On the caller's thread: a row may have a hundred megabytes.

    arrays: what `packed` gave. values: what `plain` gave. options: what the session was opened
    with, as JSON can hold it.

    Raises:
        ValueError: a mark whose value JSON cannot hold.
    """
    for item in (*values["queue"], *values["events"]):
        if isinstance(item, Mark) or (isinstance(item, Task) and item.kind == "mark"):
            _check_mark(item.value)
    sound = [item for item in values["queue"] if not isinstance(item, Task)] + values["kept"]
    queue = [[i.kind, i.value] if isinstance(i, Task) else i.size for i in values["queue"]]
    events = [[type(event).__name__, _fields(event)] for event in values["events"]]
    meta = {"identity": identity, "options": options}
    kept = [pcm.size for pcm in values["kept"]]
    meta["values"] = {**values, "kept": kept, "queue": queue, "events": events}
    text = json.dumps(meta, allow_nan=False).encode()
    parts = len(text).to_bytes(_LENGTH, "little"), text, *sound, arrays
    body = b"".join(parts)
    return _TITLE + b"%d\n" % FORMAT + _digest(body) + body


def _check_mark(value: Any) -> None:
    """What comes back must be what was marked: a tuple would become a list."""
    try:
        same = json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ValueError(
            f"the stream cannot be saved: a mark's value is {shown(value)} (expected one that JSON "
            "can hold)"
        )


def _digest(body: bytes | memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST).digest()


class Saved:
    """What `to_bytes` wrote.

    Raises:
        ValueError: it is none of ours, damaged, or of another model or precision.
    """

    def __init__(self, data: bytes, identity: str):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is {type(data).__name__} (expected what `save` gave, bytes)")
        data = bytes(data)
        title, newline, _ = data[:_LONGEST_TITLE].partition(b"\n")
        if not (newline and title.startswith(_TITLE)):
            raise ValueError("data is no saved stream (expected what `save` gave)")
        if title != _TITLE + b"%d" % FORMAT:
            raise ValueError(
                f"data is of format {shown(title[len(_TITLE) :], 40)} (expected {FORMAT})"
            )
        rest = memoryview(data)[len(title) + 1 :]  # a row may have a hundred megabytes: no copies
        digest, body = rest[:_DIGEST], rest[_DIGEST:]
        if digest != _digest(body):
            raise ValueError("data is damaged or cut short (expected what `save` gave)")
        end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
        meta = json.loads(bytes(body[_LENGTH:end]))
        if meta["identity"] != identity:
            raise ValueError(
                "data is a stream of another model, of other weights, bits, dtype or cache "
                "(expected one of this)"
            )
        self.options, self._values = meta["options"], meta["values"]
        sizes = (*self._values["queue"], *self._values["kept"])
        count = sum(item for item in sizes if isinstance(item, int))
        self._sound = np.frombuffer(body, np.float32, count, end).copy()
        self._packed = body[end + self._sound.nbytes :]

    def state(self, like: Any) -> Pieces[Any]:
        """The row's state, of the same form as `like`. Evaluated, on the worker's thread, one
        array a turn."""
        arrays = load_safetensors(io.BytesIO(self._packed))

        def saved(name: str, array: mx.array) -> mx.array:
            found = arrays.get(name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                raise ValueError("data does not fit this model (expected what `save` gave)")
            return found

        state = tree_map_with_path(saved, like)
        for _, array in flat(state):
            mx.eval(array)
            yield
        return state

    def values(self) -> dict[str, Any]:
        """As `plain` gives them."""
        at = 0

        def given_back(item: Any) -> Any:
            nonlocal at
            if not isinstance(item, int):
                return Task(*item)
            at += item
            return self._sound[at - item : at]

        queue, kept = (
            [given_back(item) for item in self._values[name]] for name in ("queue", "kept")
        )
        events = [_event(*event) for event in self._values["events"]]
        return {**self._values, "queue": queue, "kept": kept, "events": events}


def _fields(event: Event) -> dict[str, Any]:
    fields = asdict(event)
    if isinstance(event, Pause):
        fields["probabilities"] = list(event.probabilities.items())
    return fields


def _event(name: str, fields: dict[str, Any]) -> Event:
    if name == "Pause":
        fields["probabilities"] = {float(n): p for n, p in fields["probabilities"]}
    return _EVENTS[name](**fields)
