"""What is to be said for certain words, such as names, and the files that say it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from dsm_mlx.checks import check_path
from dsm_mlx.messages import named, shown
from dsm_mlx.tts.text.words import Said, Written

_EXPECTED = "expected `written = said`"


class Lexicon:
    """Words, and what is said for them.

    The longest entry that fits counts, of one word or of several in a row. An entry in which a
    capital follows a letter, such as `GIF` or `McCoy`, fits only what is written just so; any other
    fits whatever its capitals. Punctuation around a word and a final 's stay with it.
    """

    def __init__(self, entries: Mapping[str, str]):
        """TypeError and ValueError for entries that are no texts, or empty."""
        if not isinstance(entries, Mapping):
            raise TypeError(f"lexicon is {shown(entries)} (expected words and what is said)")
        self._exact: dict[tuple[str, ...], str] = {}
        self._any: dict[tuple[str, ...], str] = {}
        self._starts: set[tuple[str, ...]] = set()
        for written, said in entries.items():
            self._add(written, said)

    def _add(self, written: object, said: object) -> None:
        for text in (written, said):
            if not isinstance(text, str):
                raise TypeError(f"lexicon has {shown(text)} (expected str)")
        if problem := problem_of(str(written), str(said)):
            raise ValueError(f"lexicon has {shown(written)}: {shown(said)} ({problem})")
        words = tuple(str(written).split())
        exact = _is_exact(words)
        key = words if exact else _lower(words)
        (self._exact if exact else self._any)[key] = " ".join(str(said).split())
        self._starts.update(_lower(words[:i]) for i in range(1, len(words)))

    def match(self, words: Sequence[Written], ended: bool) -> tuple[int, list[Said]] | None:
        """How many of these words are an entry, 0 or more, and what is said for them as one.

        None: that depends on words to come. ended: none come.
        """
        longest: tuple[int, list[Said]] = (0, [])
        for count in range(1, len(words) + 1):
            if found := self._found(words[:count]):
                longest = (count, found)
            if not self._may_go_on(words[:count]):
                return longest
        return longest if ended else None

    def _may_go_on(self, words: Sequence[Written]) -> bool:
        if _trailing(words[-1]):
            return False
        key = _lower([words[0].text.lstrip(_LEADING), *(word.text for word in words[1:])])
        return key in self._starts

    def _found(self, words: Sequence[Written]) -> list[Said]:
        """As one written word, in which all of them are."""
        if any(map(_trailing, words[:-1])):
            return []
        texts = [word.text for word in words]
        lead = texts[0][: len(texts[0]) - len(texts[0].lstrip(_LEADING))]
        first = texts[0]
        for start in {0, len(lead)}:
            texts[0] = first[start:]
            last = texts[-1]
            for end in _ends(last):
                said = self._look_up((*texts[:-1], last[:end]))
                if said is not None:
                    written = " ".join(word.written for word in words)
                    return [Said(written, f"{first[:start]}{said}{last[end:]}")]
        return []

    def _look_up(self, words: tuple[str, ...]) -> str | None:
        said = self._exact.get(words)
        return self._any.get(_lower(words)) if said is None else said


_LEADING = "([{\"'“\u2018«¿¡"
_TRAILING = ".,;:!?…)]}\"'”\u2019»"


def _trailing(word: Written) -> bool:
    return word.text[-1:] in _TRAILING and bool(word.text)


def _ends(word: str) -> list[int]:
    """Where a word may end before its punctuation and a final 's, the longest first."""
    ends = [len(word)]
    bare = word.rstrip(_TRAILING)
    ends += range(len(word) - 1, len(bare) - 1, -1)
    if len(bare) > 2 and bare[-1] in "sS" and bare[-2] in "'\u2019":
        ends.append(len(bare) - 2)
    return ends


def _is_exact(words: Sequence[str]) -> bool:
    """A capital follows a letter."""
    return any(before.isalpha() and ch.isupper() for word in words for before, ch in pairwise(word))


def _lower(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(word.lower().replace("\u2019", "'") for word in words)


def problem_of(written: str, said: str) -> str | None:
    """What is wrong with an entry, or None."""
    if not written.split():
        return "expected a word before it"
    if not said.split():
        return "expected what is said for it"
    return None


def read_lexicon(path: object) -> dict[str, str]:
    """A lexicon's file: a JSON object, or lines `written = said`, or with a tab in the place of
    the sign. UTF-8; empty lines and those that begin with # say nothing.

    Raises:
        OSError: it cannot be read.
        ValueError: naming the file and the line, what is no entry, or is given twice.
    """
    name = check_path("lexicon", path)
    data = Path(name).read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{named(name)}, line {at}: not UTF-8") from None
    if text.lstrip().startswith("{"):
        return _from_json(name, text)
    entries: dict[str, str] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        written, sign, said = line.partition("\t" if "\t" in line else "=")
        written, said = written.strip(), said.strip()
        problem = problem_of(written, said) if sign else _EXPECTED
        if written in lines:
            problem = f"it is also in line {lines[written]}"
        if problem:
            raise ValueError(f"{named(name)}, line {number}: {shown(line.strip())} ({problem})")
        entries[written], lines[written] = said, number
    return entries


def _from_json(name: str, text: str) -> dict[str, str]:
    try:
        entries: dict[str, str] = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{named(name)}, line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{named(name)}: {error}") from None
    for written, said in entries.items():
        if not isinstance(said, str):
            raise ValueError(f"{named(name)}: {shown(written)} is {shown(said)} (expected a text)")
        if problem := problem_of(written, said):
            raise ValueError(f"{named(name)}: {shown(written)}: {shown(said)} ({problem})")
    return entries


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{shown(key)} is given twice")
        found[key] = value
    return found
