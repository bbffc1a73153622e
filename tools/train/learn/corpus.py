"""Encoded sessions in memory, and the batch of a step: a function of the step alone.

Because a batch depends on nothing but the step's number, training that is stopped and resumed
sees what training without a stop would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import sentencepiece
from speech import shards
from speech.sessions import SECONDS, Spoken
from torch.utils.data import DataLoader, Dataset

# Sessions that are learnt from one after another: a stream must be heard and spoken for longer
# than the context, and a model that never sees the step after a session's last one says half as
# much from there on.
JOINED = 2


class Corpus:
    """codes uint16 (n, n_q, frames), phones uint8 (n, labels), words and speakers by session."""

    def __init__(self, folder: Path, *splits: str):
        paths = [path for split in splits for path in shards.found(folder, split, "codes")]
        if not paths:
            raise FileNotFoundError(
                f"{folder}: has no codes of {' or '.join(splits)}; encode first"
            )
        files = [np.load(path) for path in paths]
        self.codes = np.concatenate([file["codes"] for file in files])
        self.phones = np.concatenate([file["phones"] for file in files])
        self.speakers = np.concatenate([file["speakers"] for file in files])
        self.words: list[list[Spoken]] = []
        for file in files:
            self.words += shards.read_words(file["words"])

    def __len__(self) -> int:
        return len(self.codes)

    def joined(self, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[Spoken]]:
        """Sessions one after another: codes (n_q, frames), phones (labels,), words."""
        words = [
            replace(word, start=word.start + i * SECONDS, end=word.end + i * SECONDS)
            for i, session in enumerate(sessions)
            for word in self.words[session]
        ]
        return np.concatenate(self.codes[sessions], -1), self.phones[sessions].ravel(), words

    def chosen(self, step: int, batch: int, seed: int) -> np.ndarray:
        """Which sessions make up the batch of a step: every session once in each pass."""
        places = np.arange(step * batch, (step + 1) * batch)
        passes, inside = np.divmod(places, len(self))
        orders = {p: np.random.default_rng((seed, p)).permutation(len(self)) for p in set(passes)}
        return np.array([orders[p][i] for p, i in zip(passes, inside, strict=True)])


class Pieces:
    """A word -> the ids of its pieces, remembered."""

    def __init__(self, tokenizer: Path):
        self._processor = sentencepiece.SentencePieceProcessor(str(tokenizer))
        self._known: dict[str, list[int]] = {}

    def __call__(self, word: str) -> list[int]:
        if word not in self._known:
            self._known[word] = self._processor.encode(word)
        return self._known[word]


class Steps(Dataset):
    """The batches of steps, made by `make(step)`: dictionaries of arrays."""

    def __init__(self, make, steps: int):
        self._make, self._steps = make, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> dict:
        return self._make(step)


def batches(make, first: int, steps: int, workers: int) -> Iterator[dict]:
    """The batches of the steps first to steps - 1, made ahead by `workers` processes."""
    loader = DataLoader(
        Steps(make, steps), batch_size=None, sampler=range(first, steps), num_workers=workers
    )
    return iter(loader)
