"""Sessions on disk: a file for fifty of them, written whole or not at all.

A shard is a function of its split and number as long as a fresh process makes it, because
espeak-ng and flite carry a state from one sentence to the next. So shards may be deleted and
made again, and making can stop and go on anywhere.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from speech import sessions
from speech.sessions import Mix, Session, Spoken

PER_SHARD = 50
SPLITS = {
    "train": Mix(),
    "tts": Mix("preset", no_speech=0, effects=False, level=False),
    "test": Mix(held_out_text=True, no_speech=0, effects=False),
    "new voice": Mix("new voice", held_out_text=True, no_speech=0, effects=False),
    "new synthesizer": Mix("new synthesizer", held_out_text=True, no_speech=0, effects=False),
    "flite": Mix(flite=1.0, no_speech=0),  # its voices take longer to learn than espeak-ng's
    "plain": Mix(flite=0.7, effects=False),  # as the synthesizers made them
    # A dialogue's next turn follows without a break; of the split tts few do.
    "turns": Mix("preset", turns=1, no_speech=0, effects=False, level=False, brisk=True),
}
_FIRST_SEED = {split: (i + 1) * 10**8 for i, split in enumerate(SPLITS)}


def path_of(folder: Path, split: str, number: int, kind: str = "pcm") -> Path:
    """The file of a shard. kind: "pcm", or "codes" for what a codec made of it."""
    return folder / f"{split.replace(' ', '-')}-{number:05}.{kind}.npz"


def found(folder: Path, split: str, kind: str = "pcm") -> list[Path]:
    """The shards that are there, in their order."""
    return sorted(folder.glob(f"{split.replace(' ', '-')}-[0-9]*.{kind}.npz"))


def make(folder: Path, split: str, number: int) -> float:
    """Make a shard of sound; returns the seconds of it."""
    path = path_of(folder, split, number)
    first = _FIRST_SEED[split] + number * PER_SHARD
    made = [sessions.make(first + i, SPLITS[split]) for i in range(PER_SHARD)]
    save(path, pcm=np.stack([to_int16(s.pcm) for s in made]), **labels(made))
    return float(PER_SHARD * sessions.SECONDS)


def labels(made: list[Session]) -> dict[str, np.ndarray]:
    """phones uint8 (n, labels); words and speakers as JSON, one text for each session."""
    return {
        "phones": np.stack([s.phones for s in made]),
        "words": np.array([json.dumps([list(asdict(w).values()) for w in s.words]) for s in made]),
        "speakers": np.array([json.dumps([asdict(v) for v in s.speakers]) for s in made]),
    }


def read_words(texts: np.ndarray) -> list[list[Spoken]]:
    """The words of each session of a shard."""
    return [[Spoken(*word) for word in json.loads(str(text))] for text in texts]


def to_int16(pcm: np.ndarray) -> np.ndarray:
    return np.round(pcm * 32767).astype(np.int16)


def to_float(pcm: np.ndarray) -> np.ndarray:
    return pcm.astype(np.float32) / 32767


def save(path: Path, **arrays: np.ndarray) -> None:
    """Write a file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with draft.open("wb") as file:
        np.savez(file, **arrays)
    draft.rename(path)


def make_many(
    folder: Path, split: str, count: int, minutes: float, workers: int, log: Callable[[str], None]
) -> None:
    """Make those of shards 0 to count - 1 that are missing, in `workers` processes.

    After `minutes` it stops; what is then half made is made again another time.
    """
    missing = [n for n in range(count) if not path_of(folder, split, n).exists()]
    began, seconds = time.monotonic(), 0.0
    # A fresh process for each shard: the synthesizers' sound depends on what they said before.
    with get_context("spawn").Pool(workers, maxtasksperchild=1) as pool:
        made = pool.imap_unordered(partial(make, folder, split), missing)
        for done, length in enumerate(made, 1):
            seconds += length
            passed = time.monotonic() - began
            if done % max(1, len(missing) // 20) == 0:
                log(f"speech {split}: {done} of {len(missing)}, {seconds / passed:.0f} x real time")
            if passed > 60 * minutes:
                break
