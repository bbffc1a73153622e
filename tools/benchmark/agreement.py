"""Whether two libraries compute the same: without that, their times say nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_TOLERANCE = 1e-3  # of samples, of the largest one


def agreement(part: str, name: str, ours: Sequence, theirs: Sequence) -> dict[str, float | str]:
    """How well the results of the first frames (see jobs.py) agree, in words and figures.

    name: who computed `theirs`, for the ValueError where they are not the same.
    """
    mine, other = np.array(ours), np.array(theirs)
    if mine.shape != other.shape:
        raise ValueError(f"{part}: {name} gives {other.shape} values, dsm_mlx {mine.shape}")
    if part == "decode":
        return {"largest difference of samples": _of_samples(name, mine, other)}
    what = {"encode": "codes", "stt": "text tokens", "tts": "text tokens and codes"}[part]
    differ = mine != other
    if differ.any():
        raise ValueError(
            f"{part}: {name} computes something else: {differ.sum()} of {differ.size} {what} "
            f"differ from those of dsm_mlx, first in frame {differ.any(axis=1).argmax()}"
        )
    return {f"the same {what}": f"{mine.size} of {mine.size}, in {len(mine)} frames"}


def _of_samples(name: str, ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference in proportion to the largest sample."""
    difference = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if not difference <= _TOLERANCE:
        raise ValueError(
            f"decode: {name} computes something else: samples differ from those of dsm_mlx by "
            f"{difference:.1e} of the largest (expected {_TOLERANCE:.0e} at most)"
        )
    return difference
