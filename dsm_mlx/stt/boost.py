"""Phrases that a transcript shall prefer: a prefix tree over the tokenizer's pieces.

A phrase is followed piece by piece. Where a word may begin, the first piece of every phrase is
made more likely by half its strength, unless the model is sure of another token; after the first
pieces of a phrase the next one by all of it. A phrase is whole when its last piece has been said
and its word is over; as soon as anything else is said it has broken off. Plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from dsm_mlx.checks import check_number
from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.messages import shown

Phrases: TypeAlias = Sequence[str] | Mapping[str, float | None]
"""Phrases, or phrase -> strength, where None is `STRENGTH`."""

STRENGTH = 5.0
"""Of a phrase that has none of its own: how much is added to logits. `docs/hearing.md` says why."""

MOST_STRENGTH = 20.0
MOST_PHRASES = 500
MOST_PIECES = 64  # of a phrase

FIRST = 0.5
"""Of a phrase's strength, for its first piece: nothing speaks for the phrase yet."""

SURE = 0.75
"""A model that gives its own token more than that is not talked into a phrase."""

_OWN = 0.5  # a token at least as likely is what the model itself says
_WORD_START = "\u2581"  # how SentencePiece marks a leading space


def check_boost(boost: Any) -> dict[str, float] | None:
    """Phrases -> strengths, the same phrase once; None for no phrases.

    Raises:
        TypeError, ValueError: what of it is none, and what was expected.
    """
    if boost is None:
        return None
    if isinstance(boost, (str, bytes)) or not isinstance(boost, (Mapping, Iterable)):
        raise TypeError(
            f"boost is {shown(boost)} (expected a list of phrases, or phrase -> strength)"
        )
    given = boost.items() if isinstance(boost, Mapping) else [(phrase, None) for phrase in boost]
    found: dict[str, float] = {}
    for phrase, strength in given:
        if not isinstance(phrase, str):
            raise TypeError(f"a phrase of boost is {shown(phrase)} (expected str)")
        words = " ".join(phrase.split())
        if not words:
            raise ValueError(f"a phrase of boost is {shown(phrase)} (expected a word or more)")
        if strength is None:
            strength = STRENGTH
        name = f"the strength of {shown(words)}"
        found[words] = check_number(name, strength, 0.0, MOST_STRENGTH)
    if len(found) > MOST_PHRASES:
        raise ValueError(f"boost has {len(found)} phrases (expected at most {MOST_PHRASES})")
    return found or None


class Place(NamedTuple):
    """Where a row is in a tree: the number of a node, and what was spent on the way there, where
    the model itself would have said something else."""

    node: int = 0
    spent: float = 0.0


ROOT = Place()


@dataclass
class _Node:
    """after: the nodes by the pieces that lead there. strength: what such a piece is given to lead
    here. begins: whether the piece begins a word. ends: whether a phrase ends here."""

    strength: float = 0.0
    begins: bool = True
    ends: bool = False
    after: dict[int, int] = field(default_factory=dict)


class Boost:
    """The tree of some phrases, which follows from them and the tokenizer. It holds no state: where
    a row is in it is the number of a node."""

    def __init__(self, phrases: Mapping[str, float], tokenizer):
        """phrases: of `check_boost`. tokenizer: a SentencePieceProcessor.

        ValueError for a phrase that has no tokens, or too many.
        """
        self.phrases, self._tokenizer = dict(phrases), tokenizer
        self._nodes = [_Node()]
        for phrase, strength in self.phrases.items():
            ways = self._ways(phrase)
            if not ways:
                raise ValueError(
                    f"a phrase of boost is {shown(phrase)} (expected one that the model's "
                    "tokenizer can write)"
                )
            for pieces in ways:
                self._add(pieces, strength)

    def _ways(self, phrase: str) -> list[list[int]]:
        """The pieces of a phrase as it is written, and as at the start of a sentence. A model that
        writes no capitals is given none."""
        spellings = phrase, phrase[0].upper() + phrase[1:]
        ways = [pieces for text in spellings if (pieces := self._pieces(text))]
        return ways or [pieces for pieces in [self._pieces(phrase.lower())] if pieces]

    def _pieces(self, text: str) -> list[int]:
        """Empty where the tokenizer cannot write it."""
        pieces = self._tokenizer.encode(text)
        if len(pieces) > MOST_PIECES:
            raise ValueError(
                f"a phrase of boost is {shown(text)} ({len(pieces)} tokens, expected at most "
                f"{MOST_PIECES})"
            )
        strange = self._tokenizer.unk_id() in pieces or PADDING in pieces
        return [] if strange else pieces

    def _add(self, pieces: list[int], strength: float) -> None:
        node = 0
        for piece in pieces:
            after = self._nodes[node].after
            if piece not in after:
                after[piece] = len(self._nodes)
                self._nodes.append(_Node(begins=self._piece(piece).startswith(_WORD_START)))
            node = after[piece]
            self._nodes[node].strength = max(self._nodes[node].strength, strength)
        self._nodes[node].ends = True

    def _piece(self, token: int) -> str:
        return self._tokenizer.id_to_piece(token)

    def wishes(self, at: Place, last: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Tokens and what is added to their logits, when `last` was the last token.

        After a boundary a word begins: any phrase, or the next word of one. After a piece, what
        comes next of its phrase. After padding comes a boundary or more padding, and nothing is
        wished.
        """
        if last == PADDING or (at.node == 0 and last != NEW_WORD):
            return (), ()
        found: dict[int, float] = {}
        for place in (ROOT, at) if last == NEW_WORD else (at,):
            for piece, after in self._nodes[place.node].after.items():
                if self._nodes[after].begins or last != NEW_WORD:
                    value = min(self._given(place.node, after) + place.spent, MOST_STRENGTH)
                    found[piece] = max(found.get(piece, 0.0), value)
        return tuple(found), tuple(found.values())

    def follow(self, at: Place, token: int, last: int, probability: float) -> Place:
        """The place after a token, of which `last` was the one before. probability: that the model
        itself gave it."""
        if self.is_whole(at, token):  # and what it cost is not to be made good any more
            at = Place(at.node)
        after = self._nodes[at.node].after
        if token in (NEW_WORD, PADDING):  # a word is over: a next one may follow
            ongoing = any(self._nodes[number].begins for number in after.values())
            return at if ongoing else ROOT
        before, number = at, after.get(token, 0)
        if not number or (last in (NEW_WORD, PADDING) and not self._nodes[number].begins):
            before, number = ROOT, self._nodes[0].after.get(token, 0)
        if not number:
            return ROOT
        spent = self._given(before.node, number) if probability < _OWN else 0.0
        return Place(number, before.spent + spent)

    def is_whole(self, at: Place, token: int) -> bool:
        """Whether a phrase ends at a place, when `token` follows: a boundary, padding, another
        word, or a sign such as a full stop."""
        if not self._nodes[at.node].ends:
            return False
        return token in (NEW_WORD, PADDING) or not self._piece(token)[:1].isalnum()

    def goes_on(self, at: Place, after: Place) -> bool:
        """Whether a phrase that was followed to `at` is still followed at the place after it."""
        return after.node == at.node or after.node in self._nodes[at.node].after.values()

    def _given(self, node: int, after: int) -> float:
        """What the piece from a node to another is given."""
        return self._nodes[after].strength * (FIRST if node == 0 else 1.0)
