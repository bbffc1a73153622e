"""What speech to text has to say at each step of a session. Plain numpy, no torch.

Steps count as in training: the first input is the initial tokens, so step s has heard the
frames 0 to s - 1, and what it says is target s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from speech.phones import UNKNOWN
from speech.sessions import Spoken

from dsm_mlx.lm.tokens import NEW_WORD, PADDING

FRAME_RATE = 12.5
PAUSES = (0.5, 1.0, 2.0, 3.0)  # seconds, one head each
SILENT, SPOKEN, UNTOLD = 0, 1, -100  # UNTOLD: the session ends before it is known
_SHORTEST_GAP = 0.3
PHONES_A_FRAME = 4


def text_stream(
    words: Sequence[Spoken], delay: int, steps: int, pieces: Callable[[str], Sequence[int]]
) -> np.ndarray:
    """int64 (steps,): for each word a 0, then its pieces; padding elsewhere.

    delay: frames by which the words lag. The 0 lies where the clock of `dsm_mlx.stt.words` reads
    the start of the word (to the nearest frame), or later if the last word is still going on. A
    word that goes on after the last step is told as far as there is room: a model that is taught
    silence there learns to count the steps.
    """
    stream = np.full(steps, PADDING, np.int64)
    free = 0
    for word in words:
        at = max(round(word.start * FRAME_RATE) + delay - 1, free)
        ids = pieces(word.text)
        free = at + 1 + len(ids)
        said = [NEW_WORD, *ids][: max(0, steps - at)]
        stream[at : at + len(said)] = said
    return stream


def pauses(words: Sequence[Spoken], steps: int, seconds: float) -> np.ndarray:
    """int64 (heads, steps): SILENT within pauses that last long enough, SPOKEN elsewhere."""
    target = np.full((len(PAUSES), steps), SPOKEN, np.int64)
    for start, end, known in gaps(words, seconds):
        inside = slice(math.ceil(start * FRAME_RATE) + 1, int(end * FRAME_RATE) + 1)
        for head, length in enumerate(PAUSES):
            if end - start >= length:
                target[head, inside] = SILENT
            elif not known:
                target[head, inside] = UNTOLD
    return target


def gaps(words: Sequence[Spoken], seconds: float) -> list[tuple[float, float, bool]]:
    """Start and end of what lies between words, and whether its end is known."""
    found, last = [], 0.0
    for word in words:
        if word.start - last > _SHORTEST_GAP:
            found.append((last, word.start, True))
        last = max(last, word.end)
    return [*found, (last, seconds, False)]


def phones(track: np.ndarray, late: int, steps: int) -> np.ndarray:
    """Phones of a session (labels,) -> int64 (steps, 4): those of each step, `late` steps late."""
    frames = track.reshape(-1, PHONES_A_FRAME).astype(np.int64)
    target = np.full((steps, PHONES_A_FRAME), UNKNOWN, np.int64)
    target[late:] = frames[: steps - late]
    return target
