"""What a model made of a set, as far as it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from evaluation import published
from evaluation.points import Point
from evaluation.scoring import Counts, Scorer
from evaluation.sets import Item, Set
from evaluation.times import Spoken, Times


@dataclass
class Score:
    """Of one set at one point of a curve; it grows while recordings are done.

    extra: figures beside those of words, such as the distance of spectra. said: by a model that
    speaks, and not by people.
    """

    set: Set
    scorer: Scorer
    point: Point = field(default_factory=Point)
    said: bool = False
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    times: Times = field(default_factory=Times)
    items: list[dict] = field(default_factory=list)
    extra: dict = field(default_factory=dict)

    def add(self, item: Item, text: str, seconds: float, words: Sequence[Spoken] = ()) -> None:
        """One more recording: what was heard in how much sound, with the times of words."""
        counts = self.scorer.counts(item.text, text)
        self.counts += counts
        self.seconds += seconds
        if item.words:
            self.times.add(item.words, words, self.scorer.normal)
        self.items.append({"name": item.name, "said": item.text, "heard": text} | asdict(counts))

    @property
    def done(self) -> bool:
        return len(self.items) == len(self.set.items)

    def row(self) -> dict:
        """All figures, in plain values."""
        point = {"point": self.point.label} if self.point.label else {}
        point |= {"line": self.point.line} if self.point.line else {}
        return {
            "set": self.set.name,
            **point,
            "recordings": len(self.items),
            "of": len(self.set.items),
            "seconds": self.seconds,
            "words": self.counts.words,
            "wer": self.counts.wer,
            **asdict(self.counts),
            **self.times.figures(),
            **self.extra,
            "published": self.published,
        }

    @property
    def published(self) -> str | None:
        """What the paper or a model's card has for this set."""
        name = published.which(self.set.name)
        if name is None:
            return None
        return published.SPEAKING.get(name) if self.said else f"{published.HEARING[name]}"

    def worst(self, count: int) -> list[dict]:
        """The recordings with most errors."""
        wrong = [item for item in self.items if _errors(item)]
        return sorted(wrong, key=_errors, reverse=True)[:count]


def _errors(item: dict) -> int:
    return item["substitutions"] + item["deletions"] + item["insertions"]
