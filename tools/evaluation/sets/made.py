"""Sentences of tools/train's synthesizers, of which it is known when each word is said."""

from __future__ import annotations

import sys
from pathlib import Path

from evaluation.sets.item import Item, Set, Timed

_COUNT = 60


def talks() -> Set:
    """Sixty sentences by known voices of espeak-ng and flite, as tools/levels.py has them.

    OSError where their libraries are missing.
    """
    sys.path.append(str(Path(__file__).parents[2] / "train"))
    from speech.libraries import check

    check("the set talks")
    from evaluation import talks

    items = []
    for seed in range(_COUNT):
        talk = talks.sentence("known voices", seed)
        words = tuple(Timed(*word) for word in talk.words)
        items.append(Item(f"talk {seed}", " ".join(w.text for w in words), talk.pcm, words=words))
    return Set("talks", items)
