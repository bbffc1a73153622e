"""A session as a value: copied for a fork, or as bytes that another process can go on from.

The bytes are a safetensors file: the arrays of the row and the sound that waits, and as metadata
JSON with everything else. Nothing in them is ever executed.
"""

from __future__ import annotations

import io
import json
from collections import deque
from dataclasses import asdict
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map_with_path

from dsm_mlx.options import TurnPolicy
from dsm_mlx.results import EndOfTurn, Event, Mark, Partial, Pause, Word
from dsm_mlx.stt.session import Session, Task

FORMAT = 1
_KEY = "dsm_mlx"
_ROW, _SOUND = "row.", "sound"
_EVENTS = {kind.__name__: kind for kind in (Word, Partial, Pause, EndOfTurn, Mark)}


def plain(session: Session) -> dict[str, Any]:
    """All that a session knows but for the row's arrays, sharing nothing with it. With `changed`
    held and no frame in flight."""
    clock, words, turns, energy = session.clock, session.words, session.turns, session.energy
    return {
        "clock": [clock.heard, clock.audio, list(clock.changes)],
        "words": [list(words.pieces), words.logs, words.start, words.now],
        "turns": [turns.spoken, turns.low, turns.ignored, turns.high],
        "energy": energy and [energy.quiet, energy.background],
        "queue": list(session.queue),
        "events": list(session.events),
        "counts": [session.samples, session.frame, session.untaken],
        "partials": [session.partials, session.shown],
    }


def restore(session: Session, values: dict[str, Any]) -> None:
    """Give a new session what `plain` gave."""
    clock, words, turns = session.clock, session.words, session.turns
    clock.heard, clock.audio, changes = values["clock"]
    clock.changes = deque((heard, audio, bool(on)) for heard, audio, on in changes)
    pieces, words.logs, words.start, words.now = values["words"]
    words.pieces = list(pieces)
    turns.spoken, turns.low, turns.ignored, turns.high = values["turns"]
    if session.energy:
        session.energy.quiet, session.energy.background = values["energy"]
    session.queue, session.events = deque(values["queue"]), deque(values["events"])
    session.samples, session.frame, session.untaken = values["counts"]
    session.partials, session.shown = values["partials"]


def to_bytes(state: Any, values: dict[str, Any], options: dict[str, Any], identity: str) -> bytes:
    """state: of the row. options: what the session was opened with, as JSON can hold it.

    Raises:
        ValueError: a mark whose value JSON cannot hold.
    """
    sound = [item for item in values["queue"] if not isinstance(item, Task)]
    queue = [[i.kind, i.value] if isinstance(i, Task) else i.size for i in values["queue"]]
    events = [[type(event).__name__, _fields(event)] for event in values["events"]]
    meta = {"format": FORMAT, "identity": identity, "options": options}
    meta["values"] = {**values, "queue": queue, "events": events}
    try:
        text = json.dumps(meta, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the stream cannot be saved: {error}") from None
    arrays = {_ROW + name: array for name, array in tree_flatten(state)}
    arrays[_SOUND] = mx.array(np.concatenate([np.zeros(0, np.float32), *sound]))
    file = io.BytesIO()
    mx.save_safetensors(file, arrays, {_KEY: text})
    return file.getvalue()


class Saved:
    """What `to_bytes` wrote.

    Raises:
        ValueError: it is none of ours, damaged, or of another model or precision.
    """

    def __init__(self, data: bytes, identity: str):
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data is {type(data).__name__} (expected what `save` gave, bytes)")
        try:
            arrays, metadata = mx.load(io.BytesIO(data), format="safetensors", return_metadata=True)
            meta = json.loads(metadata[_KEY])
            found = meta["format"], meta["identity"]
            self._arrays, self.options, self._values = arrays, meta["options"], meta["values"]
        except Exception:  # the reader raises many types for what is not such a file
            raise ValueError("data is no saved stream (expected what `save` gave)") from None
        if found[0] != FORMAT:
            raise ValueError(f"data is of format {found[0]!r:.40} (expected {FORMAT})")
        if found[1] != identity:
            raise ValueError(
                "data is a stream of another model, of other weights, bits, dtype or cache "
                "(expected one of this)"
            )

    @property
    def turns(self) -> TurnPolicy:
        return TurnPolicy(**self.options["turns"])

    def state(self, like: Any) -> Any:
        """The row's state, of the same form as `like`. Evaluated."""

        def saved(name: str, array: mx.array) -> mx.array:
            found = self._arrays.get(_ROW + name)
            if found is None or found.shape != array.shape or found.dtype != array.dtype:
                raise ValueError("data does not fit this model (expected what `save` gave)")
            return found

        state = tree_map_with_path(saved, like)
        mx.eval(state)
        return state

    def values(self) -> dict[str, Any]:
        """As `plain` gives them."""
        sound, at, queue = np.array(self._arrays[_SOUND]), 0, []
        for item in self._values["queue"]:
            if isinstance(item, int):
                queue.append(sound[at : at + item])
                at += item
            else:
                queue.append(Task(*item))
        events = [_event(*event) for event in self._values["events"]]
        return {**self._values, "queue": queue, "events": events}


def _fields(event: Event) -> dict[str, Any]:
    fields = asdict(event)
    if isinstance(event, Pause):
        fields["probabilities"] = list(event.probabilities.items())
    return fields


def _event(name: str, fields: dict[str, Any]) -> Event:
    if name == "Pause":
        fields["probabilities"] = {float(n): p for n, p in fields["probabilities"]}
    return _EVENTS[name](**fields)
