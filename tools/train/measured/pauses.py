"""Pauses and ends of turns: precision and recall."""

from __future__ import annotations

import numpy as np
from learn import labels
from speech.sessions import SECONDS

_TURN = 1.0  # seconds


def pause_figures(spoken: list, heard: list) -> list[str]:
    """Precision and recall of each head, where the answer is known: by frame, and by pause.

    A head tells of a pause from its first frame on, before the pause has lasted as long. By pause,
    one frame is enough: each stretch that the head calls a pause is right if a part of it is, and
    each pause is found if the head tells of a part of it.
    """
    pairs = []
    for words, result in zip(spoken, heard, strict=True):
        told = np.array([list(p.probabilities.values()) for p in result.pauses]).T > 0.5
        target = labels.pauses(words, told.shape[1] + 1, SECONDS)[:, 1:]
        pairs.append((told & (target != labels.UNTOLD), target == labels.SILENT))
    lines = []
    for head, seconds in enumerate(labels.PAUSES):
        frames, pauses = np.zeros(4, int), np.zeros(4, int)
        for told, silent in pairs:
            said, wanted = told[head], silent[head]
            hits = (said & wanted).sum()
            frames += (hits, said.sum(), hits, wanted.sum())
            right = [wanted[stretch].any() for stretch in stretches(said)]
            found = [said[stretch].any() for stretch in stretches(wanted)]
            pauses += (sum(right), len(right), sum(found), len(found))
        lines.append(
            f"pauses of {seconds:g} s: {precision_recall(*frames)}; "
            f"by pause: {precision_recall(*pauses)}"
        )
    return lines


def turn_figures(spoken: list, heard: list) -> str:
    """Precision and recall of the ends of turns, where a turn ends in a pause of 1 s or more.

    Each end that is told is right if it lies in such a pause; each such pause after a word is found
    if an end is told in it. What the recording's end cuts short is not counted.
    """
    told, found, wanted = 0, 0, 0
    late = []  # seconds, of each that is right
    for words, result in zip(spoken, heard, strict=True):
        ends = [turn.time for turn in result.turns]
        for start, end, known in labels.gaps(words, SECONDS):
            if start == 0:
                continue  # nobody has spoken
            inside = [time - start for time in ends if start <= time <= end]
            if end - start >= _TURN:
                wanted, found = wanted + 1, found + bool(inside)
                late += inside
            elif not known:
                told -= len(inside)
        told += len(ends)
    figures = precision_recall(len(late), told, found, wanted)
    return (
        f"ends of turns, pauses of {_TURN:g} s: {figures}, "
        f"median {np.median(late or [0]):.2f} s after the last word"
    )


def stretches(mask: np.ndarray) -> list[slice]:
    """Where a bool array is true without a break."""
    edges = np.flatnonzero(np.diff(np.pad(mask.astype(int), 1)))
    return [slice(start, end) for start, end in edges.reshape(-1, 2)]


def precision_recall(right: int, said: int, found: int, wanted: int) -> str:
    return f"precision {right / max(1, said):.2f}, recall {found / max(1, wanted):.2f}"
