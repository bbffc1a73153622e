"""What is said for one written word with figures or signs in it, by itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from dsm_mlx.tts.text.grammar import Grammar, Number

HYPHEN = "[-\u2010\u2013—\u2212]"
MINUS = "[-\u2212]"
SIGNS = "$€£¥₹"
HALVES = {
    "am": "A M", "pm": "P M", "a.m": "A M", "p.m": "P M", "AM": "A M", "PM": "P M",
    "A.M": "A M", "P.M": "P M",
}  # fmt: skip
_POWERS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@lru_cache(maxsize=64)
def _compiled(pattern: str, number: str) -> re.Pattern[str]:
    return re.compile(pattern.replace("NUM", number), re.ASCII)


def fit(pattern: str, text: str, grammar: Grammar) -> re.Match[str] | None:
    """Whether all of `text` is `pattern`, in which NUM stands for a number."""
    return _compiled(pattern, grammar.NUMBER).fullmatch(text)


def said_figures(core: str, grammar: Grammar) -> str | None:
    """What is said for a word with digits; None where there are none."""
    if not re.search("[0-9]", core):
        return None
    for rule in _RULES:
        words = rule(core, grammar)
        if words is not None:
            return words
    return _mixed(core, grammar)


# ---- dates and times


def _date(core: str, grammar: Grammar) -> str | None:
    match = re.fullmatch(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?:T(\d\d):(\d\d)[:.\d]*Z?)?", core)
    if match:
        words = _day(int(match[1]), int(match[3]), int(match[4]), grammar)
        if words is None or match[5] is None:
            return words
        return f"{words} {grammar.time(int(match[5]), int(match[6]))}"
    match = re.fullmatch(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d{2})", core)
    if not match or (match[2] == "." and len(match[4]) == 2):
        return None
    year, one, two = int(match[4]), int(match[1]), int(match[3])
    if len(match[4]) == 2:
        year += 2000 if year < 70 else 1900
    day, month = (one, two) if match[2] in grammar.day_first_with else (two, one)
    if month > 12:
        day, month = month, day
    return _day(year, month, day, grammar)


def _day(year: int, month: int, day: int, grammar: Grammar) -> str | None:
    if 1 <= month <= 12 and 1 <= day <= 31 and year:
        return grammar.date(year, month, day)
    return None


def _time(core: str, grammar: Grammar) -> str | None:
    match = re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?([ap]\.?m)?", core, re.IGNORECASE)
    if not match:
        match = re.fullmatch(r"(\d{1,2})[hH](\d\d)()(?:min)?()", core)
    if not match:
        match = re.fullmatch(r"(\d{1,2})()()([ap]\.?m)", core, re.IGNORECASE)
    if not match:
        return None
    hour, minute, second = int(match[1]), int(match[2] or 0), match[3]
    if hour > 24 or minute > 59:
        return None
    words = grammar.time(hour, minute, HALVES[match[4].lower()] if match[4] else "")
    return f"{words} {grammar.cardinal(int(second))}" if second else words


# ---- numbers


def _digits(core: str, grammar: Grammar) -> str | None:
    """Of a telephone and the like, which are said digit by digit."""
    if re.fullmatch(r"\+?\d{10,}|\+?(?:\(?\d{1,4}\)?[-.])?\(?\d{3}\)?[-.]\d{3,4}[-.]\d{4}", core):
        plus = f"{grammar.signs['+']} " if core[0] == "+" else ""
        return plus + grammar.digits(core)
    if re.fullmatch(r"\d{3}-\d{4}", core):
        return grammar.digits(core)
    if re.fullmatch(r"(?:\+\d{1,3}[-.])?\d{1,2}(?:[-.]\d\d){3,5}", core):  # in pairs, as in France
        return " ".join(_pair(digits, grammar) for digits in re.findall(r"\d+", core))
    if re.fullmatch(r"0\d", core):
        return _pair(core, grammar)
    return grammar.digits(core) if re.fullmatch(r"0\d+", core) else None


def _pair(digits: str, grammar: Grammar) -> str:
    return grammar.digits(digits) if digits[0] == "0" else grammar.cardinal(int(digits))


def _range(core: str, grammar: Grammar) -> str | None:
    sign = f"(?P<sign>[{SIGNS}])?"
    match = fit(rf"{sign}(?P<one>NUM){HYPHEN}[{SIGNS}]?(?P<two>NUM)(?P<rest>\D*)", core, grammar)
    if not match:
        return None
    first, last = grammar.parse(match["one"]), grammar.parse(match["two"])
    rest = (match["sign"] or "") + match["rest"]
    if first is None or last is None:
        return None
    if not rest:
        one, two = _bare(match["one"], first, grammar), _bare(match["two"], last, grammar)
        return f"{one} {grammar.to} {two}"
    words = counted(last, rest, grammar)
    return None if words is None else f"{grammar.number(first)} {grammar.to} {words}"


def _ordinal(core: str, grammar: Grammar) -> str | None:
    return grammar.ordinal_of(core)


def _decade(core: str, grammar: Grammar) -> str | None:
    match = re.fullmatch(r"(\d{2}|\d{4})['\u2019]?s", core)
    if not match or grammar.code != "en" or match[1][-1] != "0" or match[1][-2:] in ("00", "10"):
        return None
    words = grammar.year(int(match[1]))
    return words[:-1] + "ies" if words.endswith("y") else None


def _fraction(core: str, grammar: Grammar) -> str | None:
    match = re.fullmatch(rf"(?:(\d+)[ ])?({MINUS})?(\d{{1,3}})[/\u2044](\d{{1,3}})", core)
    if not match:
        return None
    above, below = int(match[3]), int(match[4])
    if match[1]:
        return grammar.mixed(match[1], above, below)
    words = grammar.fraction(above, below)
    return f"{grammar.minus} {words}" if words and match[2] else words


def _power(core: str, grammar: Grammar) -> str | None:
    match = fit(r"(NUM|\d+[a-zA-Z])([⁰¹²³⁴-⁹⁻]+)", core, grammar)
    if not match:
        return None
    base = said_figures(match[1], grammar) or match[1]
    return f"{base} {power(match[2], grammar)}"


def power(signs: str, grammar: Grammar) -> str:
    """What is said for raised figures."""
    digits = signs.translate(_POWERS)
    if digits in ("2", "3"):
        return grammar.squared if digits == "2" else grammar.cubed
    minus = f"{grammar.minus} " if digits.startswith("-") else ""
    return f"{grammar.power} {minus}{grammar.whole(digits.strip('-') or '0')}"


def _quantity(core: str, grammar: Grammar) -> str | None:
    found = quantity(core, grammar)
    if found is None:
        return None
    number, rest = found
    return counted(number, rest, grammar) if rest else _bare(core, number, grammar)


def _numbered(core: str, grammar: Grammar) -> str | None:
    match = re.fullmatch(r"[nN][°ºo]\.?(\d+)", core)
    return f"{grammar.number_sign} {grammar.whole(match[1])}" if match else None


def quantity(core: str, grammar: Grammar) -> tuple[Number, str] | None:
    """A number and the signs around it, such as $ and m of $5m."""
    match = fit(rf"({MINUS}|\+)?([{SIGNS}])?({MINUS})?(NUM)([^\d]*)", core, grammar)
    if not match:
        return None
    negative = bool(match[3]) or (match[1] or "+") != "+"
    number = grammar.parse(match[4], negative)
    return None if number is None else (number, (match[2] or "") + match[5])


def _bare(core: str, number: Number, grammar: Grammar) -> str:
    """A number with nothing around it: one of four figures from 1100 to 2099 is a year."""
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", core):
        return grammar.year(int(core))
    return grammar.number(number)


def counted(number: Number, rest: str, grammar: Grammar) -> str | None:
    """A number with a unit or currency, with a multiplier or without: None for other signs."""
    if rest in grammar.units:
        return grammar.count(number, grammar.units[rest])
    sign = next((sign for sign in grammar.currencies if sign in rest), None)
    left = rest if sign is None else rest.replace(sign, "", 1)
    if not left and sign is not None:
        return grammar.money(number, sign)
    if left not in grammar.multipliers:
        return None
    if sign is not None:
        return grammar.money(number, sign, grammar.multipliers[left])
    if left in ("k", "M", "bn", "Md"):
        words, multiplier = grammar.number(number), grammar.multipliers[left]
        return f"{words} {grammar.multiple(number, multiplier)}"
    return None


# ---- whatever else has digits


_PIECES = re.compile(r"[^\W\d_]+|[0-9]+(?:[.,][0-9]+)*|[^\w\s]|\S")


def _mixed(core: str, grammar: Grammar) -> str:
    """Letters as they are, numbers and signs one after another: GPT-4, H2O, 2+2=4, 1.2.3."""
    said = []
    pieces = _PIECES.findall(core)
    for i, piece in enumerate(pieces):
        if piece[0] in "0123456789":
            said.append(_run(piece, grammar))
        elif piece[0].isalpha() or "a" <= piece[0].lower() <= "z":
            said.append(piece)
        elif piece in grammar.signs and _between(pieces, i, piece):
            said.append(grammar.signs[piece])
    return " ".join(said)


def _between(pieces: list[str], at: int, sign: str) -> bool:
    """Whether a sign is said: before a number, or after anything for + and &."""
    following = pieces[at + 1] if at + 1 < len(pieces) else ""
    return following[:1].isdecimal() or sign in "+&" or sign in SIGNS


def _run(piece: str, grammar: Grammar) -> str:
    number = grammar.parse(piece)
    if number is not None:
        return grammar.number(number)
    parts = re.split(r"[.,]", piece)
    joint = f" {grammar.point} " if "." in piece else " "
    return joint.join(map(grammar.whole, parts))


_RULES: tuple[Callable[[str, Grammar], str | None], ...] = (
    *(_date, _time, _digits, _range, _ordinal, _decade, _fraction, _quantity, _power, _numbered),
)
