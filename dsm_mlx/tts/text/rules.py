"""What may be asked for: the language of a text, or to find it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from dsm_mlx.messages import shown
from dsm_mlx.tts.text.language import KNOWN

CHOICES = ("auto", *KNOWN)
NEEDS = "num2words (pip install 'dsm-mlx[text]')"


@dataclass(frozen=True)
class Rules:
    """How text is read.

    languages: the codes of those that it may be in. numbers: they become words; if not, they are
    left to the model as they stand.
    """

    languages: tuple[str, ...]
    numbers: bool = True


def numbers_can_be_said() -> bool:
    """Whether the package that knows numbers' names is there."""
    return find_spec("num2words") is not None


@dataclass(frozen=True)
class WithoutNumbers:
    """In the place of `normalize`: the same, but numbers are read as they stand."""

    normalize: str


def as_far_as_it_can(normalize: str) -> str | WithoutNumbers:
    """`normalize`, without numbers where the package that knows their names is not there."""
    return normalize if numbers_can_be_said() else WithoutNumbers(normalize)


def rules_of(normalize: object, languages: Sequence[str]) -> Rules | None:
    """The rules that `normalize` asks for; None: none.

    languages: of the model, the codes. Under "auto" a text may be in those of them that have
    rules, or, where none has, in any that has.

    Raises:
        TypeError: it is none of them.
        ValueError: it is no known choice, or the package that it needs is missing.
    """
    if normalize is None:
        return None
    if isinstance(normalize, WithoutNumbers):
        return Rules(_languages(normalize.normalize, languages), numbers=False)
    if not isinstance(normalize, str):
        raise TypeError(f"normalize is {shown(normalize)} (expected None, {_choices()})")
    if normalize not in CHOICES:
        raise ValueError(f"normalize is {shown(normalize)} (expected None, {_choices()})")
    if not numbers_can_be_said():
        raise ValueError(f"normalize={normalize!r} needs the package {NEEDS}")
    return Rules(_languages(normalize, languages))


def _languages(normalize: str, languages: Sequence[str]) -> tuple[str, ...]:
    if normalize in KNOWN:
        return (normalize,)
    return tuple(code for code in KNOWN if code in languages) or KNOWN


def _choices() -> str:
    return ", ".join(f'"{name}"' for name in CHOICES[:-1]) + f' or "{CHOICES[-1]}"'
