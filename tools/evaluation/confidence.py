"""How far a word's confidence is the share of such words that are right."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from evaluation.figures import matched, words

EDGES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Judged(NamedTuple):
    """A word that was heard: the model's confidence in it, and whether it was said."""

    confidence: float
    right: bool


def judge(expected: str, heard: Sequence) -> list[Judged]:
    """Each heard `Word`, in order, against the text: right are those that an alignment leaves as
    they are, of all with the fewest errors one that leaves most. Words left out have no confidence
    and are not seen here."""
    reference = words(expected)
    hypothesis = [" ".join(words(word.text)) for word in heard]
    right = {place for _, place in matched(reference, hypothesis)}
    return [Judged(word.confidence, i in right) for i, word in enumerate(heard)]


def bins(judged: Sequence[Judged]) -> list[dict]:
    """One for each two neighbours of EDGES (the upper one belongs to the next bin, but 1 to the
    last): words, the mean confidence and the share that is right; None where there are no words."""
    confidence, right = _arrays(judged)
    place = _places(confidence)
    rows = []
    for i, (low, high) in enumerate(pairwise(EDGES)):
        inside = place == i
        means = {"confidence": confidence[inside], "right": right[inside]}
        known = {name: float(v.mean()) if v.size else None for name, v in means.items()}
        rows.append({"from": low, "to": high, "words": int(inside.sum())} | known)
    return rows


def summary(judged: Sequence[Judged]) -> dict:
    """Words, mean confidence, share right, and the expected calibration error of the confidence,
    of its square and of its cube. None without words."""
    confidence, right = _arrays(judged)
    some = confidence.size > 0
    return {
        "words": confidence.size,
        "confidence": float(confidence.mean()) if some else None,
        "right": float(right.mean()) if some else None,
        "errors": [_error(confidence**power, right) if some else None for power in (1, 2, 3)],
        "bins": bins(judged),
    }


def _error(confidence: np.ndarray, right: np.ndarray) -> float:
    """The mean over the words of the distance, within each bin, between the mean confidence and
    the share that is right."""
    place = _places(confidence)
    apart = [abs((confidence - right)[place == i].sum()) for i in range(len(EDGES) - 1)]
    return float(sum(apart) / confidence.size)


def _places(confidence: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(EDGES, confidence, "right") - 1, 0, len(EDGES) - 2)


def _arrays(judged: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray]:
    """float64 (words,) each."""
    return tuple(np.array([word[i] for word in judged], float) for i in range(2))
