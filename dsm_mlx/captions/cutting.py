"""Words cut into captions, and into the turns of who speaks."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dsm_mlx.captions.style import DEFAULT, CaptionStyle, finite
from dsm_mlx.checks import check_text
from dsm_mlx.messages import shown
from dsm_mlx.results import Word

# A full stop after these ends no sentence. Words that are ordinary too ("no", "fig") are not here.
ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "st", "ste", "prof", "rev", "hon", "gov", "sen", "rep", "gen",
    "col", "sgt", "capt", "lt", "maj", "cmdr", "jr", "sr", "mme", "mlle", "mm", "inc", "ltd",
    "corp", "vs", "etc", "al", "cf", "dept", "est", "approx", "ave", "blvd", "rd", "mt",
}  # fmt: skip
# Nor after these, before a number.
BEFORE_NUMBERS = {
    "no", "nos", "nr", "fig", "figs", "p", "pp", "vol", "ch", "sec", "art", "eq", "ca", "jan",
    "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
}  # fmt: skip
# "U.S.", "e.g.", "a.m.", "Ph.D.", "J.-P."
_INITIALS = re.compile(r"(?:-?[^\W\d_]{1,2}\.){2,}")
_OPENING, _CLOSING = "\"'([{«‹“‘¿¡", "\"')]}»›”’"  # noqa: RUF001


@dataclass(frozen=True)
class Cue:
    """A caption: lines of one speaker's words, and the span in seconds in which they are spoken."""

    lines: list[list[Word]]

    @property
    def words(self) -> list[Word]:
        """The words of all lines, in their order."""
        return [word for line in self.lines for word in line]

    @property
    def speaker(self) -> str | None:
        """The name of who speaks; None where that is not known."""
        return self.lines[0][0].speaker

    @property
    def start(self) -> float:
        """The second at which the first word begins."""
        return self.lines[0][0].start

    @property
    def end(self) -> float:
        """The second at which the last of the words is over."""
        return max(word.end for word in self.words)


def cues(words: Iterable[Word], style: CaptionStyle = DEFAULT) -> list[Cue]:
    """Cut words, in order, into captions. Words without any letters or signs are left out.

    Those of each speaker are cut as if nobody else had spoken, so that captions of two may overlap
    in time; they come in the order in which they begin. ValueError for a word whose times are not
    finite, TypeError for what is no `Word`.
    """
    if not isinstance(style, CaptionStyle):
        raise TypeError(f"style is {shown(style)} (expected a CaptionStyle)")
    rows = by_speaker(map(_timed, clean(words)))
    found = [cue for row in rows for cue in _cut(row, style)]
    return sorted(found, key=lambda cue: cue.start) if len(rows) > 1 else found


def _cut(words: Iterable[Word], style: CaptionStyle) -> list[Cue]:
    """The captions of one speaker."""
    found: list[Cue] = []
    for word in words:
        cue = found[-1] if found else None
        if cue is None or _begins_cue(cue, word, style):
            found.append(Cue([[word]]))
        elif _width(cue) + 1 + len(word.text) <= style.max_chars:
            cue.lines[-1].append(word)
        elif len(cue.lines) < style.max_lines:
            cue.lines.append([word])
        else:
            found.append(Cue([[word]]))
    return found


Spoken = TypeVar("Spoken", Word, Cue)


def by_speaker(spoken: Iterable[Spoken]) -> list[list[Spoken]]:
    """The words of each speaker, or the captions, in the order in which speakers first come."""
    rows: dict[str | None, list[Spoken]] = {}
    for one in spoken:
        rows.setdefault(one.speaker, []).append(one)
    return list(rows.values())


def turns(words: Iterable[Word], gap: float = DEFAULT.gap) -> list[list[Word]]:
    """Words turn by turn, each of one speaker, in the order in which they begin.

    What a speaker says without a silence of `gap` seconds stays together, although somebody else
    may speak meanwhile; it is one turn with what follows, if nobody else began between. Words
    without any letters or signs are left out. ValueError for a gap that is no number of seconds
    from 0 up and for a word whose times are not finite, TypeError for what is no `Word`.
    """
    gap = finite(gap, "gap", least=0)
    rows = by_speaker(map(_timed, clean(words)))
    found: list[list[Word]] = []
    for piece in sorted((p for row in rows for p in _pieces(row, gap)), key=lambda p: p[0].start):
        if found and found[-1][0].speaker == piece[0].speaker:
            found[-1] += piece
        else:
            found.append(piece)
    return found


def _pieces(words: list[Word], gap: float) -> list[list[Word]]:
    found: list[list[Word]] = []
    for word in words:
        if found and word.start - found[-1][-1].end < gap:
            found[-1].append(word)
        else:
            found.append([word])
    return found


def clean(words: Iterable[Word]) -> Iterator[Word]:
    """Words as a line of text can hold them; those of which nothing is left are left out."""
    try:
        found = iter(words)
    except TypeError:
        raise TypeError(f"words is {shown(words)} (expected an iterable of Word)") from None
    for word in found:
        if not isinstance(word, Word):
            raise TypeError(f"{shown(word)} among the words (expected a Word)")
        check_text("the text of a word", word.text)
        speaker = word.speaker
        if speaker is not None:
            check_text("the speaker of a word", speaker)
            speaker = _line(speaker) or None
        if text := _line(word.text):
            yield replace(word, text=text, speaker=speaker)


def _line(text: str) -> str:
    """Text as a part of a line."""
    spaced = " ".join(encodable(text).split())
    return "".join(c for c in spaced if unicodedata.category(c) != "Cc" and c != "\ufeff").strip()


def encodable(text: str) -> str:
    """Text that UTF-8 can encode: of halves of a character that are alone nothing can be said."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def label(speaker: str | None) -> str:
    """What stands before a speaker's words in plain text."""
    return "" if speaker is None else f"{speaker}: "


def _timed(word: Word) -> Word:
    start = finite(word.start, f"the start of {shown(word.text)}")
    return replace(word, start=start, end=finite(word.end, f"the end of {shown(word.text)}"))


def _begins_cue(cue: Cue, word: Word, style: CaptionStyle) -> bool:
    # times are multiples of 80 ms, so an exact comparison would be decided by rounding errors
    return (
        round(word.start - cue.end, 3) >= style.gap
        or round(word.end - cue.start, 3) > style.max_duration
        or (
            round(word.start - cue.start, 3) >= style.min_duration
            and _ends_sentence(cue.lines[-1][-1].text, word.text)
        )
    )


def _ends_sentence(text: str, following: str) -> bool:
    """Whether a sentence ends with the word `text`, before the word `following`.

    Not with an abbreviation, although a sentence may: a caption that goes on over the end of a
    sentence reads better than one that breaks off inside it.
    """
    bare = text.rstrip(_CLOSING).lstrip(_OPENING)
    if bare.endswith(("?", "!")):
        return True
    if not bare.endswith(".") or bare.endswith(".."):
        return False
    stem = bare[:-1].lower()
    initial = len(stem) == 1 and bare[0].isupper()
    if initial or stem in ABBREVIATIONS or _INITIALS.fullmatch(bare):
        return False
    number = following.lstrip(_OPENING)[:1].isdigit()
    return not (number and (stem in BEFORE_NUMBERS or stem[-1:].isdigit()))


def _width(cue: Cue) -> int:
    """The characters of its last line so far."""
    line: Sequence[Word] = cue.lines[-1]
    named = len(label(cue.speaker)) if len(cue.lines) == 1 else 0
    return named + sum(len(word.text) for word in line) + len(line) - 1
