"""What is said: sentences drawn from grammar.txt, the same from the same seed.

A fortieth of all sentences is held out: it is never trained on, only measured on. So is
everything that tools/sentences.txt says.
"""

from __future__ import annotations

import random
import re
import zlib
from functools import cache
from pathlib import Path

GRAMMAR = Path(__file__).with_name("grammar.txt")
EVERYDAY = Path(__file__).parents[2] / "sentences.txt"
_SLOT = re.compile(r"\{([a-z ]+)\}")
_WORD = re.compile(r"[a-z][a-z']*")
_HELD_OUT_OF = 40


def words_of(text: str) -> list[str]:
    """The words that a transcript of `text` has: lower-case, no punctuation."""
    return _WORD.findall(text.lower())


@cache
def rules() -> dict[str, list[str]]:
    """The rules of the grammar: name -> its choices. ValueError for a slot that no rule fills."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in GRAMMAR.read_text().splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line.startswith(" "):
            name, _, line = line.partition(":")
        choices = [choice.strip() for choice in line.split("|")]
        found.setdefault(name, []).extend(choice for choice in choices if choice)
    missing = {slot for all_ in found.values() for c in all_ for slot in _SLOT.findall(c)} - {
        *found
    }
    if missing:
        raise ValueError(f"{GRAMMAR.name}: no rule for {sorted(missing)}")
    return found


def expand(rule: str, rng: random.Random) -> str:
    """One of a rule's choices, its slots filled."""
    return _SLOT.sub(lambda match: expand(match[1], rng), rng.choice(rules()[rule]))


@cache
def _everyday() -> set[str]:
    return {" ".join(words_of(line)) for line in EVERYDAY.read_text().splitlines()}


def is_held_out(text: str) -> bool:
    """Whether a sentence may only be measured on."""
    plain = " ".join(words_of(text))
    return zlib.crc32(plain.encode()) % _HELD_OUT_OF == 0 or plain in _everyday()


def sentence(rng: random.Random, held_out: bool = False) -> str:
    """A sentence to train on, or one that is held out."""
    while True:
        text = expand("sentence", rng)
        if is_held_out(text) == held_out:
            return text


def vocabulary() -> list[str]:
    """Every word of the grammar, in order of appearance."""
    text = " ".join(choice for choices in rules().values() for choice in choices)
    return list(dict.fromkeys(words_of(_SLOT.sub(" ", text))))
