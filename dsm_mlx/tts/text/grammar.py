"""Numbers as words: what English and French have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

_MOST_DIGITS = 21  # of a number that is said as one


@dataclass(frozen=True)
class Number:
    """whole, decimals: digits; decimals: None if there are none."""

    whole: str
    decimals: str | None = None
    negative: bool = False

    @property
    def is_one(self) -> bool:
        return self.whole == "1" and self.decimals is None


@dataclass(frozen=True)
class Unit:
    """What a sign such as km means: for one, and for several."""

    one: str
    more: str


def units_of(lines: str) -> dict[str, Unit]:
    """From lines of `signs: one[/more]`; more is one with an s if it is not given."""
    units = {}
    for line in lines.strip().splitlines():
        signs, _, names = line.strip().partition(": ")
        one, _, more = names.partition("/")
        for sign in signs.split():
            units[sign] = Unit(one, more or f"{one}s")
    return units


class Grammar:
    """The rules of one language.

    units: by their signs. currencies: sign to (unit, hundredth). multipliers: signs and words.
    signs: said where they stand alone or between numbers.
    """

    code: str
    NUMBER: str
    """A regular expression for a number without its sign."""

    units: ClassVar[dict[str, Unit]]
    currencies: ClassVar[dict[str, tuple[Unit, Unit]]]
    multipliers: ClassVar[dict[str, str]]
    months: tuple[str, ...]
    month_names: ClassVar[dict[str, int]]
    abbreviations: ClassVar[dict[str, str]]
    signs: ClassVar[dict[str, str]]
    minus = "minus"
    point = "point"
    to = "to"
    dot, at, slash, dash, underscore = "dot", "at", "slash", "dash", "underscore"
    squared, cubed, power = "squared", "cubed", "to the power of"
    hashtag, number_sign = "hashtag", "number"
    day_first_with: str
    """The signs between day, month and year of a date in figures whose day comes first."""

    # ---- numbers

    def parse(self, text: str, negative: bool = False) -> Number | None:
        """A number in figures, such as 1,234.5; None if it is none."""
        raise NotImplementedError

    def cardinal(self, value: int) -> str:
        """Such as twenty two."""
        return said(value, self.code, "cardinal")

    def ordinal(self, value: int) -> str:
        """Such as twenty second."""
        return said(value, self.code, "ordinal")

    def year(self, value: int) -> str:
        return self.cardinal(value)

    def digits(self, text: str) -> str:
        """Its digits one by one."""
        return " ".join(self.cardinal(int(digit)) for digit in text if digit in "0123456789")

    def whole(self, digits: str) -> str:
        """A number without decimals; its digits where it begins with 0 or has no end."""
        if len(digits) > _MOST_DIGITS or (digits[0] == "0" and len(digits) > 1):
            return self.digits(digits)
        return self.cardinal(int(digits))

    def number(self, number: Number) -> str:
        words = self.whole(number.whole)
        if number.decimals is not None:
            words += f" {self.point} {self.decimals(number.decimals)}"
        return f"{self.minus} {words}" if number.negative else words

    def decimals(self, digits: str) -> str:
        return self.digits(digits)

    def is_single(self, number: Number) -> bool:
        """Whether what is counted stands in the singular."""
        return number.is_one

    def count(self, number: Number, unit: Unit, multiplier: str = "") -> str:
        """So many of a unit, such as five kilometres."""
        return f"{self.counted(number, unit, multiplier)} {self.unit(number, unit, multiplier)}"

    def counted(self, number: Number, unit: Unit, multiplier: str = "") -> str:
        """The number before a unit."""
        words = self.number(number)
        return f"{words} {self.multiple(number, multiplier)}" if multiplier else words

    def multiple(self, number: Number, multiplier: str) -> str:
        """A word such as million after a number."""
        return multiplier

    def unit(self, number: Number, unit: Unit, multiplier: str = "") -> str:
        """A unit after its number."""
        return unit.one if self.is_single(number) and not multiplier else unit.more

    def money(self, number: Number, sign: str, multiplier: str = "") -> str:
        """An amount, such as five dollars and fifty cents."""
        unit, hundredth = self.currencies[sign]
        if multiplier or number.decimals is None or len(number.decimals) != 2 or not hundredth.one:
            return self.count(number, unit, multiplier)
        cents = Number(str(int(number.decimals)))
        small = self.count(cents, hundredth)
        minus = f"{self.minus} " if number.negative else ""
        if number.whole == "0" and cents.whole != "0":
            return minus + small
        units = Number(number.whole)
        large = minus + self.count(units, unit)
        return large if cents.whole == "0" else self.with_cents(large, small, cents)

    def with_cents(self, large: str, small: str, cents: Number) -> str:
        raise NotImplementedError

    # ---- dates and times

    def date(self, year: int, month: int, day: int) -> str:
        raise NotImplementedError

    def time(self, hour: int, minute: int, half: str = "") -> str:
        """half: "", "A M" or "P M"."""
        raise NotImplementedError

    def fraction(self, above: int, below: int) -> str | None:
        """A simple one, such as three quarters; None for others."""
        raise NotImplementedError

    def mixed(self, whole: str, above: int, below: int) -> str | None:
        """Such as one and a half."""
        raise NotImplementedError

    def ordinal_of(self, core: str) -> str | None:
        """Of a word such as 22nd."""
        raise NotImplementedError


@lru_cache(maxsize=4096)
def said(value: int, language: str, form: str) -> str:
    """A number in words, without hyphens and commas. form: cardinal, ordinal or year."""
    from num2words import num2words

    words: str = num2words(value, lang=language, to=form)
    return re.sub(r"[-\s]+", " ", words.replace(",", " ")).strip()
