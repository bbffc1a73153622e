"""Written words, one after another, to what is said for them, with as little waiting as can be."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache, lru_cache
from typing import Literal

from dsm_mlx.tts.text.addresses import said_address
from dsm_mlx.tts.text.english import English
from dsm_mlx.tts.text.figures import HALVES, SIGNS, counted, power, quantity, said_figures
from dsm_mlx.tts.text.french import French
from dsm_mlx.tts.text.grammar import Grammar, Number
from dsm_mlx.tts.text.language import Guess
from dsm_mlx.tts.text.lexicon import Lexicon
from dsm_mlx.tts.text.rules import Rules
from dsm_mlx.tts.text.words import Said, Written, word_of

MOST_AHEAD = 4
"""Words that may be waited for where the language is not known yet."""

_GROUPS = 6  # of three digits, or of a telephone's
_RAISED = re.compile(r"([A-Za-zµμ°À-ɏ]+)([⁰¹²³⁴-⁹⁻]+)")


@cache
def grammar_of(code: str) -> Grammar:
    """The rules of a language: "en" or "fr"."""
    return English() if code == "en" else French()


class Phrases:
    """What is said for words, of which some wait for those that come after them.

    What waits: in a lexicon, the beginning of an entry of several words; with `rules`, a number
    for a unit, an amount for million, a month for a day, an hour for its half of the day, and,
    under "auto", what has to be said in one language or the other for the first word that tells
    which, four at most. All other words come out at once.
    """

    def __init__(self, rules: Rules | None, lexicon: Lexicon | None):
        self._rules, self._lexicon = rules, lexicon
        self._held: list[Written] = []
        self._guess = Guess()

    def copy(self) -> Phrases:
        """The same, to go on by itself."""
        other = copy(self)
        other._held, other._guess = self._held.copy(), copy(self._guess)
        return other

    def add(self, word: Written) -> list[Said]:
        """The next word; returns what can be said now."""
        self._held.append(word)
        if self._rules:
            self._guess.hear(word.text, word.core)
        return self._decided(ended=False)

    def end(self) -> list[Said]:
        """A pause, a tag or the end: nothing waits any longer."""
        return self._decided(ended=True)

    def _decided(self, ended: bool) -> list[Said]:
        said: list[Said] = []
        while self._held:
            found = self._first(ended)
            if found is None:
                break
            count, words = found
            said += words
            del self._held[:count]
        return said

    def _first(self, ended: bool) -> tuple[int, list[Said]] | None:
        """How many of the words held are decided, and what is said for them; None: that depends on
        what follows."""
        if self._lexicon:
            found = self._lexicon.match(self._held, ended)
            if found is None or found[0]:
                return found
        word = self._held[0]
        if self._rules is None or word.is_long:
            return 1, [word.as_it_stands()]
        if word.plain and not any(_opens(word, code) for code in self._rules.languages):
            return 1, [word.as_it_stands()]
        language = self._language(self._rules, ended)
        if language is None:
            return None
        return decide(self._held, grammar_of(language), self._rules.numbers, ended)

    def _language(self, rules: Rules, ended: bool) -> str | None:
        if len(rules.languages) == 1:
            return rules.languages[0]
        if self._guess.language is None and (ended or len(self._held) > MOST_AHEAD):
            return rules.languages[0]
        return self._guess.language


@lru_cache(maxsize=4096)
def _opens(word: Written, language: str) -> bool:
    """Whether a word of letters alone may be said in another way."""
    grammar = grammar_of(language)
    if grammar.code == "en" and (word.core in grammar.month_names or word.core == "No"):
        return True
    return _abbreviation(word, grammar) is not None


def decide(
    words: Sequence[Written], grammar: Grammar, numbers: bool, ended: bool
) -> tuple[int, list[Said]] | None:
    """How many of `words` are decided, one or more, and what is said for them; None: that depends
    on what follows. ended: nothing does.

    numbers: they become words.
    """
    word = words[0]
    address = said_address(word.core, grammar, numbers)
    if address is not None:
        return 1, [word.said(address)]
    if (said := _abbreviation(word, grammar)) is not None:
        return 1, [said]
    if not numbers:
        return 1, [_signs(word, grammar, numbers)]
    for phrase in (_month, _numbered, _telephone, _hour, _group, _number):
        found = phrase(words, grammar, ended)
        if found is not False:
            return found
    figures = said_figures(word.core, grammar)
    return 1, [_signs(word, grammar, numbers) if figures is None else word.said(figures)]


# ---- of several words: False where they are something else

Found = tuple[int, list[Said]] | Literal[False] | None


def _next(words: Sequence[Written], at: int = 1) -> Written | None:
    return words[at] if len(words) > at else None


def _month(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """March 3: the day is said third."""
    word, following = words[0], _next(words)
    month = grammar.month_names.get(word.core)
    if grammar.code != "en" or month is None or word.tail not in ("", "."):
        return False
    if following is None:
        return (1, [word.as_it_stands()]) if ended else None
    day = re.fullmatch(r"(\d{1,2})(?:st|nd|rd|th)?", following.core)
    name = word.said(grammar.months[month - 1], "")
    if day and 1 <= int(day[1]) <= 31:
        return 2, [name, following.said(grammar.ordinal(int(day[1])))]
    if re.fullmatch(r"[12]\d{3}", following.core):
        return 1, [name]
    return 1, [word.as_it_stands()]


def _numbered(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """No. 5 is number five."""
    word, following = words[0], _next(words)
    if grammar.code != "en" or word.core != "No" or word.tail != ".":
        return False
    if following is None:
        return False if ended else None
    return (1, [word.said(grammar.number_sign, "")]) if following.core[:1].isdecimal() else False


def _telephone(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """+1 555 123 4567 and (555) 123-4567: digit by digit, in French in pairs."""
    first = words[0]
    area = bool(re.fullmatch(r"\d{3}", first.core)) and first.lead == "(" and first.tail == ")"
    if not area and not (re.fullmatch(r"\+\d{1,3}", first.core) and not first.tail):
        return False
    count = _together(words, ended, _is_of_telephone, lambda word: bool(word.tail.strip(")")))
    if count is None:
        return None
    if count == 1 or (area and not re.search(r"\d{3}", words[1].core)):
        return False
    said = []
    for i, word in enumerate(words[:count]):
        digits = re.sub(r"\D", "", word.core)
        pair = grammar.code == "fr" and len(digits) < 3 and digits[0] != "0"
        spoken = grammar.cardinal(int(digits)) if pair else grammar.digits(digits)
        plus = f"{grammar.signs['+']} " if word.core[0] == "+" else ""
        said.append(word.said(plus + spoken, "," if i + 1 < count else None))
    return count, said


def _is_of_telephone(word: Written) -> bool:
    bracket = ")" if word.tail.startswith(")") else ""
    return bool(re.fullmatch(r"\(?\d{1,4}\)?(?:[-.]\d{2,4})*", word.core + bracket))


def _is_group(word: Written) -> bool:
    return not word.lead and bool(re.fullmatch(r"\d{3}(?:[.,]\d+)?\D*", word.core))


def _together(
    words: Sequence[Written],
    ended: bool,
    goes_on: Callable[[Written], bool],
    is_last: Callable[[Written], bool],
) -> int | None:
    """How many words, from the first on, are one number; None: that depends on what follows."""
    for count in range(1, _GROUPS + 1):
        following = _next(words, count)
        if following is None:
            return count if ended else None
        if not goes_on(following):
            return count
        if is_last(following):
            return count + 1
    return _GROUPS + 1


def _group(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """10 000: one number, whose groups stand apart."""
    first = words[0]
    if first.tail or not re.fullmatch(rf"[-\u2212]?[{SIGNS}]?[1-9]\d{{0,2}}", first.core):
        return False
    count = _together(
        words, ended, _is_group, lambda word: bool(word.tail) or not word.core.isdecimal()
    )
    if count is None:
        return None
    if count == 1:
        return False
    last = words[count - 1]
    joined = "".join(word.core for word in words[:count])
    whole = word_of(f"{first.lead}{joined}{last.tail}")
    rest = [whole, *words[count:]]
    found = _number(rest, grammar, ended)
    if found is None:
        return None
    used, said = (
        found
        if isinstance(found, tuple)
        else (1, [whole.said(said_figures(whole.core, grammar) or joined)])
    )
    written = " ".join(word.written for word in words[:count])
    return used + count - 1, [Said(written, said[0].words), *said[1:]]


def _number(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """A number and the unit, the multiplier, the month or the half of the day after it."""
    word = words[0]
    found = quantity(word.core, grammar)
    time = grammar.code == "en" and re.fullmatch(r"\d{1,2}:\d\d", word.core)
    span = re.fullmatch(r"[\d.,]+[-\u2013—\u2212][\d.,]+", word.core)
    if word.tail or not (time or span or (found and set(found[1]) <= set(SIGNS))):
        return False
    following = _next(words)
    if following is None:
        return False if ended else None
    if following.lead:
        return False
    if following.core in HALVES and grammar.code == "en":
        half = said_figures(word.core + following.core.replace(".", ""), grammar)
        if half is not None and half.endswith(" M"):
            tail = following.tail.removeprefix(".") if "." in following.core else following.tail
            return 2, [word.said(half[:-4]), following.said(half[-3:], tail)]
    if time:
        return False
    if not found or not found[1]:
        return _with_unit(word, following, grammar)
    multiplier = grammar.multipliers.get(following.core)
    if multiplier is None:
        return False
    return 2, _split(word, following, grammar.money(found[0], found[1], multiplier), multiplier)


def _with_unit(word: Written, following: Written, grammar: Grammar) -> Found:
    """5 km, 5 €, 3-5 kg, 3 March, 1 mars, 1 1/2."""
    core = following.core
    if core in grammar.month_names:
        return _before_month(word, grammar)
    if re.fullmatch(r"[1-9]/[1-9]\d?", core) and word.core.isdecimal():
        return 2, [_joined(word, following, said_figures(f"{word.core} {core}", grammar) or "")]
    return _counted(word, following, grammar)


def _hour(words: Sequence[Written], grammar: Grammar, ended: bool) -> Found:
    """14 h 30, in French."""
    word, sign, minutes = words[0], _next(words), _next(words, 2)
    if grammar.code != "fr" or word.tail or not re.fullmatch(r"1?\d|2[0-4]", word.core):
        return False
    if sign is None:
        return False if ended else None
    if sign.text != "h":
        return False
    if minutes is None:
        return False if ended else None
    if minutes.lead or not re.fullmatch(r"[0-5]\d", minutes.core):
        return False
    hour = grammar.time(int(word.core), 0)
    number, _, unit = hour.rpartition(" ")
    small = grammar.time(int(word.core), int(minutes.core)).removeprefix(hour).strip()
    return 3, [word.said(number), sign.said(unit), minutes.said(small or grammar.digits("00"))]


def _counted(word: Written, following: Written, grammar: Grammar) -> Found:
    core = following.core
    unit = grammar.units.get(core) or grammar.currencies.get(core, (None,))[0]
    if unit is None and not (
        any(sign in core for sign in grammar.currencies) and counted(Number("2"), core, grammar)
    ):
        return False
    said = said_figures(word.core + core, grammar)
    if said is None:
        return False
    for form in (unit.one, unit.more) if unit else ():
        if said.endswith(f" {form}"):
            return 2, [word.said(said.removesuffix(f" {form}")), following.said(form)]
    return 2, [_joined(word, following, said)]


def _joined(word: Written, following: Written, said: str) -> Said:
    """Two written words as one, where what is said cannot be parted."""
    return Said(f"{word.written} {following.written}", f"{word.lead}{said}{following.tail}")


def _before_month(word: Written, grammar: Grammar) -> Found:
    if not re.fullmatch(r"[1-9]|[12]\d|3[01]", word.core):
        return False
    day = int(word.core)
    if grammar.code == "en":
        return 1, [word.said(f"the {grammar.ordinal(day)} of")]
    return (1, [word.said("premier")]) if day == 1 else False


def _split(word: Written, following: Written, said: str, multiplier: str) -> list[Said]:
    """Words for an amount, of which the multiplier and what comes after it belong to the second."""
    stem = f" {multiplier}"
    at = said.rfind(stem)
    return [word.said(said[:at]), following.said(said[at:].strip())]


# ---- of one


def _abbreviation(word: Written, grammar: Grammar) -> Said | None:
    """Dr. is Doctor."""
    known = grammar.abbreviations
    if word.tail.startswith(".") and f"{word.core}." in known:
        return word.said(known[f"{word.core}."], word.tail[1:])
    return word.said(known[word.core]) if word.core in known else None


def _signs(word: Written, grammar: Grammar, numbers: bool) -> Said:
    """A word with signs of which some have names."""
    text = word.text
    if text in grammar.signs:
        return Said(word.written, grammar.signs[text])
    core = word.core
    if core.startswith("#") and len(core) > 1:
        name = grammar.number_sign if core[1].isdecimal() else grammar.hashtag
        return word.said(f"{name} {core[1:]}")
    if raised := _RAISED.fullmatch(core):
        if len(raised[1]) > 2:  # the number of a note
            return word.said(raised[1])
        if numbers:
            return word.said(f"{raised[1]} {power(raised[2], grammar)}")
    spoken = re.sub(r"(?<=\w)[/_](?=\w)", " ", core)
    spoken = re.sub(r"(?<=\w)&(?=\w)", f" {grammar.signs['&']} ", spoken)
    spoken = re.sub(r"(?<=[\w+])\+", f" {grammar.signs['+']}", spoken)
    spoken = re.sub(r"^@(?=\w)", f"{grammar.at} ", spoken)
    return word.as_it_stands() if spoken == core else word.said(spoken)
