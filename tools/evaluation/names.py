"""Sentences with rare names, which a model has not learnt to write."""

from __future__ import annotations

import random

NAMES = (
    *("Zbigniew", "Siobhan", "Aurelie", "Kowalski", "Okonkwo", "Nakamura", "Vasquez", "Thorvald"),
    *("Ysolde", "Bramwell", "Quillan", "Marisol", "Lysander", "Ottoline", "Farquhar", "Tamsin"),
    *("Rosalba", "Delphine", "Evander", "Cosima", "Leopold", "Petronella", "Wilhelmina", "Anselm"),
    *("Balthazar", "Gwendolyn", "Isadora", "Mordecai", "Yevgeny", "Zenobia", "Drusilla", "Ephraim"),
    *("Fitzgerald", "Galadriel", "Hyacinth", "Jocasta", "Kensington", "Ludovico", "Montgomery"),
    *("Novgorod", "Orlando Fiennes", "Perpetua", "Rasmussen", "Svetlana", "Theodora", "Umberto"),
    *("Valparaiso", "Winifred", "Xanthippe", "New Brunswick", "Saint Albans", "Marguerite Dubois"),
)
_SENTENCES = (
    "my friend {} lives near the station",
    "please send the letter to {} before noon",
    "{} told us a story about the river",
    "we are going to meet {} in the park",
    "did you see {} at the market yesterday",
    "the name of the teacher is {}",
    "i think that {} is already at home",
    "yesterday {} bought a new coat and a hat",
)


def sentence(seed: int) -> tuple[str, str]:
    """A name and a sentence with it. Seeds in a row go through all names."""
    name = NAMES[seed % len(NAMES)]
    return name, random.Random(seed).choice(_SENTENCES).format(name)


def in_groups(size: int) -> list[tuple[str, ...]]:
    """All names, so many at a time."""
    return [NAMES[at : at + size] for at in range(0, len(NAMES), size)]
