"""Short cuttings of generated sound, with what leads up to them, for the codec to learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from speech import shards
from speech.phones import SILENCE
from speech.sessions import FRAME_SIZE, FRAMES

FRAMES_EACH = 20
_PHONES_A_FRAME = 4
_MOSTLY_SPEECH = 0.4  # of the phones; other cuttings are usually drawn again
_KEPT_SILENCE = 0.1
_IN_MEMORY = 96_000  # sessions' worth of seconds: 9 GB of sound


class Cuttings:
    """Where to cut is a function of the step. Sound is kept in memory as int16."""

    def __init__(self, folder: Path, codec=None, splits: tuple[str, ...] = ("train",)):
        """As much of each split; codec: if given, `codes` of every session are there too."""
        found = [shards.found(folder, split) for split in splits]
        each = min(_IN_MEMORY // 1000 // len(splits), *map(len, found))
        paths = [path for some in found for path in some[:each]]
        if not paths:
            raise FileNotFoundError(f"{folder}: has no sound; run --stage speech first")
        files = [np.load(path) for path in paths]
        self.pcm = np.concatenate([file["pcm"] for file in files])
        self.phones = np.concatenate([file["phones"] for file in files])
        self.codes = None
        if codec is not None:
            from learn.encode import codes_of

            self.codes = np.concatenate([codes_of(path, codec) for path in paths])

    def places(self, rng: np.random.Generator, count: int, before: int = 0):
        """`count` pairs (session, first frame), with at least `before` frames before each."""
        found = []
        while len(found) < count:
            session = int(rng.integers(len(self.pcm)))
            frame = int(rng.integers(before, FRAMES - FRAMES_EACH + 1))
            spoken = (self.phones_at(session, frame) != SILENCE).mean()
            if spoken >= _MOSTLY_SPEECH or rng.random() < _KEPT_SILENCE:
                found.append((session, frame))
        return found

    def pcm_at(self, session: int, frame: int) -> np.ndarray:
        """float32 (FRAMES_EACH * FRAME_SIZE,)."""
        cut = slice(frame * FRAME_SIZE, (frame + FRAMES_EACH) * FRAME_SIZE)
        return shards.to_float(self.pcm[session, cut])

    def phones_at(self, session: int, frame: int) -> np.ndarray:
        """uint8 (FRAMES_EACH * 4,)."""
        cut = slice(frame * _PHONES_A_FRAME, (frame + FRAMES_EACH) * _PHONES_A_FRAME)
        return self.phones[session, cut]
