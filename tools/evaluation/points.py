"""The curves that can be measured, and the points of each: how a model is loaded and used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsm_mlx import SpeechToText, TextToSpeech
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.stt.model import Audio
from evaluation import pace
from evaluation.level import CONDITIONS, Condition

__all__ = ["CURVES", "ROWS", "Curve", "Point", "asked", "curve"]

Model = SpeechToText | TextToSpeech
ROWS = "rows"
_ANY_DELAY = (0.16, 0.32, 0.5, 0.8, 1.2, 2.0, 2.5)  # of a model that takes any
_RECIPES = ("q8", "q4")
_ROWS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    x: where it lies, or None where points stand beside each other in their order. recipe: what the
    model is converted by first. load: options of `load_stt` or `load_tts`. use: of `transcribe` or
    `synthesize`. condition: what happens to the sound before it is heard. line: which line of the
    curve it is of, where there are several.
    """

    label: str = ""
    x: float | None = None
    recipe: str | None = None
    load: dict[str, Any] = field(default_factory=dict)
    use: dict[str, Any] = field(default_factory=dict)
    condition: Condition | None = None
    line: str = ""

    def sound(self, pcm: Audio, seed: int) -> Audio:
        """float32 pcm (samples,) -> the same, after what happens to it."""
        return pcm if self.condition is None else self.condition.apply(pcm, seed)


@dataclass(frozen=True)
class Curve:
    """Points in their order, and what is written at the axis that they lie on."""

    name: str
    axis: str
    points: Sequence[Point]


def asked(text: str) -> tuple[str, tuple[str, ...]]:
    """ "delay=0.5,1" -> a curve's name and the values that were asked for; none: its usual ones.

    ValueError for another curve.
    """
    name, _, values = text.partition("=")
    if name not in CURVES:
        raise ValueError(f"{text} (expected {', '.join(CURVES)}, or NAME=VALUE,VALUE)")
    return name, tuple(filter(None, values.split(",")))


def curve(name: str, values: Sequence[str], model: Model) -> Curve:
    """The points of a curve, for this model. ValueError where it has no such curve or value."""
    return CURVES[name](values, model)


def _delay(values: Sequence[str], model: Model) -> Curve:
    stt = _one_that("hears", SpeechToText, "delay", model)
    delays = [_number("delay", value) for value in values] or list(stt.delays) or list(_ANY_DELAY)
    points = [Point(f"{delay:g} s", delay, use={"delay": delay}) for delay in delays]
    return Curve("delay", "delay of the words, s", points)


def _codebooks(values: Sequence[str], model: Model) -> Curve:
    points = [
        Point(str(count), count, load={"codebooks": count})
        for count in counts(values, model.info.codebooks)
    ]
    return Curve("codebooks", "codebooks", points)


def counts(values: Sequence[str], most: int) -> list[int]:
    """The numbers of codebooks that were asked for, else all of them, half, a quarter, …"""
    if values:
        return [int(_number("codebooks", value)) for value in values]
    return [most >> i for i in range(most.bit_length())]


def _bits(values: Sequence[str], model: Model) -> Curve:
    names = values or _RECIPES
    for name in names:
        if name not in RECIPES:
            raise ValueError(f"--curve bits: {name} (expected {', '.join(RECIPES)})")
    points = [Point("as it is"), *(Point(name, recipe=name) for name in names)]
    return Curve("bits", "conversion", points)


def _level(values: Sequence[str], model: Model) -> Curve:
    _one_that("hears", SpeechToText, "level", model)
    known = {condition.name: condition for condition in CONDITIONS}
    if wrong := next((value for value in values if value not in known), None):
        raise ValueError(f"--curve level: {wrong} (expected {'; '.join(known)})")
    wanted = [known[value] for value in values] or CONDITIONS
    points = [
        Point(condition.name, condition=condition, use={"gain": gain}, line=line)
        for gain, line in ((None, "as it comes"), ("auto", "gain=auto"))
        for condition in wanted
    ]
    return Curve("level", "what happens to the sound", points)


def _pace(values: Sequence[str], model: Model) -> Curve:
    _one_that("speaks", TextToSpeech, "pace", model)
    paces = [_number("pace", value) for value in values] or pace.PACES
    points = [Point(f"{value:g}", value, use={"pace": value}) for value in paces]
    return Curve("pace", "pace", points)


def _rows(values: Sequence[str], model: Model) -> Curve:
    rows = [int(_number(ROWS, value)) for value in values] or _ROWS
    if min(rows) < 1:
        raise ValueError(f"--curve {ROWS}: {min(rows)} (expected numbers from 1 up)")
    return Curve(ROWS, "streams at the same time", [Point(str(row), row) for row in rows])


def _one_that(does: str, kind: type, name: str, model: Model) -> Any:
    if not isinstance(model, kind):
        raise ValueError(f"--curve {name}: needs a model that {does}")
    return model


def _number(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"--curve {name}: {value} (expected numbers)") from None


CURVES: dict[str, Callable[[Sequence[str], Model], Curve]] = {
    "delay": _delay,
    "codebooks": _codebooks,
    "bits": _bits,
    "level": _level,
    "pace": _pace,
    ROWS: _rows,
}
