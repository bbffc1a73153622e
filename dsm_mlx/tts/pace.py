"""How fast a model speaks: one number to the padding that it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from dsm_mlx.checks import check_number

SLOWEST, FASTEST = 0.5, 1.5
"""Slower was not tried; faster, `tiny` follows less and less."""

LONGEST = 86_400.0
"""Seconds of sound that a text may be limited to: a day."""

# What moves `tiny` as far as it goes, with the fewest words lost (tools/evaluate.py --paces).
_SLOWER, _FASTER = 1.5, 8.0  # of the logit of padding: added at half the pace, off at twice of it
_STEPS = 1.1  # forced after a word, at half the pace
_MAX_PADDING = 8  # steps of padding at most, as the reference has it


@dataclass(frozen=True)
class Padding:
    """What a pace changes, together.

    bonus: added to the logit of padding. more: steps forced after each word beyond its own, on
    average. most: steps after which a word is forced.
    """

    bonus: float = 0.0
    more: float = 0.0
    most: int = _MAX_PADDING


UNCHANGED = Padding()


def padding_of(pace: float) -> Padding:
    """What makes a model speak at this pace: 1.0 as it does by itself, and that changes nothing;
    below slower, above faster.

    The bonus moves with the logarithm of the pace, and the steps with the time that a word takes,
    1 / pace. Above 1 the bonus moves alone: fewer steps after a word than the model learnt cost
    `tiny` more than twice the words for the same gain. A model takes a pace for a hint:
    docs/speaking.md has how fast `tiny` then is.

    Raises:
        TypeError, ValueError: it is no number from `SLOWEST` to `FASTEST`.
    """
    pace = check_number("pace", pace, SLOWEST, FASTEST)
    if pace > 1:
        return Padding(bonus=-_FASTER * math.log2(pace))
    return Padding(
        bonus=-_SLOWER * math.log2(pace),
        more=_STEPS * (1 / pace - 1),
        most=round(_MAX_PADDING / pace),
    )
