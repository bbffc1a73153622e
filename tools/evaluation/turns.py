"""Which ends of turns a policy tells, and how soon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

import numpy as np

from dsm_mlx.options import TurnPolicy
from dsm_mlx.results import Event, Pause, Word
from dsm_mlx.stt.pauses import TurnDetector
from evaluation.talks import Turn

POLICIES = (
    TurnPolicy(),
    TurnPolicy(frames=1),
    TurnPolicy(frames=6),
    TurnPolicy(threshold=0.3),
    TurnPolicy(threshold=0.7),
    TurnPolicy(pause=0.5),
    TurnPolicy(pause=1.0),
    TurnPolicy(pause=1.0, frames=12),
    TurnPolicy(pause=3.0),
)


def name_of(policy: TurnPolicy) -> str:
    """As a caller writes it: without what is the default."""
    given = asdict(policy).items() - asdict(TurnPolicy()).items()
    return f"TurnPolicy({', '.join(f'{name}={value}' for name, value in sorted(given))})"


def ends(events: Iterable[Event], policy: TurnPolicy, frame_rate: float) -> list[float]:
    """Seconds at which a stream with this policy would have told an end, from the words and pauses
    of a stream with any other."""
    detector = TurnDetector(frame_rate, policy)
    told = []
    for event in events:
        if isinstance(event, Word):
            detector.word()
        elif isinstance(event, Pause) and detector.push(event.probabilities):
            told.append(event.time)
    return told


def figures(pairs: Sequence[tuple[Sequence[Turn], Sequence[float]]]) -> dict:
    """Of the turns and the ends told of each recording.

    An end is right if it is the first in the silence after a turn; all others are wrong. delay:
    the median of seconds from the last word's end to an end that is right. cut: the share of the
    turns in which an end is told before the last word is over.
    """
    told = sum(len(times) for _, times in pairs)
    late, cut, count = [], 0, 0
    for turns, times in pairs:
        count += len(turns)
        for turn in turns:
            late += [time - turn.end for time in times if turn.end <= time <= turn.until][:1]
            cut += any(turn.start <= time < turn.end for time in times)
    return {
        "turns": count,
        "told": told,
        "precision": len(late) / told if told else None,
        "recall": len(late) / count if count else None,
        "cut": cut / count if count else None,
        "delay": float(np.median(late)) if late else None,
    }
