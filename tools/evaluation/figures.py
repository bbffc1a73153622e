"""Figures of how far one model is from another, and of how many words are wrong."""

from __future__ import annotations

import re

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """float32 (..., values) -> float64 log probabilities."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def divergence(reference: np.ndarray, other: np.ndarray) -> float:
    """Mean KL divergence, in nats, of `other` from `reference`: logits (..., values)."""
    p, q = log_softmax(reference), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def agreement(reference: np.ndarray, other: np.ndarray) -> float:
    """The share of places in which two arrays are equal."""
    return float(np.mean(reference == other))


def words(text: str) -> list[str]:
    """Lower-case words, without punctuation."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\u2019", "'"))


def word_errors(expected: str, heard: str) -> tuple[int, int]:
    """Words substituted, deleted or inserted, and the words expected."""
    reference, hypothesis = words(expected), words(heard)
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            diagonal, row[j] = (
                row[j],
                min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other)),
            )
    return row[-1], len(reference)


def matched(reference: list[str], hypothesis: list[str]) -> list[tuple[int, int]]:
    """The places in both of the words that are right, in order: those that an alignment leaves as
    they are, of all with the fewest errors one that leaves most."""
    error = len(hypothesis) + 1  # costs more than all hits together save
    cost = np.zeros((len(reference) + 1, len(hypothesis) + 1), int)
    cost[:, 0] = np.arange(len(reference) + 1) * error
    cost[0] = np.arange(len(hypothesis) + 1) * error
    for i, word in enumerate(reference, 1):
        for j, other in enumerate(hypothesis, 1):
            paired = cost[i - 1, j - 1] + (-1 if word == other else error)
            cost[i, j] = min(paired, cost[i - 1, j] + error, cost[i, j - 1] + error)
    found, i, j = [], len(reference), len(hypothesis)
    while i and j:
        if cost[i, j] == cost[i - 1, j] + error:
            i -= 1
        elif cost[i, j] == cost[i, j - 1] + error:
            j -= 1
        else:
            i, j = i - 1, j - 1
            found += [(i, j)] if reference[i] == hypothesis[j] else []
    return found[::-1]


def word_error_rate(pairs: list[tuple[str, str]]) -> float | None:
    """Of (expected, heard) texts, all together; None where nothing is expected."""
    counts = [word_errors(expected, heard) for expected, heard in pairs]
    total = sum(count for _, count in counts)
    return sum(errors for errors, _ in counts) / total if total else None
