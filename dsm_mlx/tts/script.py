"""Text to words and their tokens: what the model is to say.

`ScriptReader` cuts text, in whatever pieces it arrives, into `Entry` values, one for each word and
each break; `dsm_mlx.tts.machine` hands their tokens to the model. Both are plain Python on strings
and small integers and know nothing of arrays, models or sound.

Reference: `script_to_entries` of moshi 0.2.13 (`models/tts.py`); paper 2509.08753, section 3.3.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import lru_cache

from dsm_mlx.lm.tokens import MAIN_SPEAKER, OTHER_SPEAKER
from dsm_mlx.messages import cut
from dsm_mlx.tts import tags

_REPLACED = {"\u2019": "'", ":": " ", "(": "", ")": "", "\u200b": " "}
_UNDERSTOOD = 'in a text only <break time="500ms"/> and <break time="0.5s"/> are understood'
_MOST_TOLD, _MOST_NAMED, _LONGEST_SHOWN = 20, 3, 40
_LONGEST_COMPLAINT = 240  # characters


@dataclass(frozen=True)
class Entry:
    """A word, or a break (`tokens` empty).

    `padding` is the number of steps, after the entry is taken, before another may be. `goes_on`:
    the word is said for the same written one, `text`, as the entry before it.
    """

    tokens: tuple[int, ...]
    text: str
    padding: int
    goes_on: bool = False

    @property
    def begins(self) -> bool:
        """A written word begins with it."""
        return bool(self.tokens) and not self.goes_on


def word_tokenizer(processor) -> Callable[[str], tuple[int, ...]]:
    """A function from a word to its tokens, for a `SentencePieceProcessor`.

    A sign that the tokenizer does not know leaves the word before it is encoded, so that the rest
    has the tokens that it has alone: those of `The` for `"The`. (With fallback to bytes it knows
    every sign.) A word of which nothing is left has no tokens.
    """
    # Its id for what it does not know is 0, which to the model means "new word".
    unknown = processor.unk_id()

    @lru_cache(maxsize=4096)
    def known(sign: str) -> bool:
        return unknown not in processor.encode(sign)

    def tokenize(word: str) -> tuple[int, ...]:
        ids = processor.encode(word)
        if unknown in ids:
            ids = processor.encode("".join(filter(known, word)))
        # Its rules may make of a sign in a word what they do not make of it alone.
        return tuple(i for i in ids if i != unknown)

    return tokenize


def _unspoken(ch: str) -> bool:
    """Control and format characters, half surrogates, emoji and what joins them."""
    if ch.isascii():
        return unicodedata.category(ch) == "Cc"
    category = unicodedata.category(ch)
    if category[0] == "C" or ch in "\ufe0e\ufe0f\u20e3":
        return True
    return category in ("So", "Sk") and ch >= "\u2600"


class ScriptReader:
    """Text, fed in any pieces, to entries. The pieces do not change the result.

    As the reference does, a curly apostrophe becomes a straight one, a colon a space, and
    parentheses are dropped; all other punctuation stays with its word. Accents are put together
    with their letters (NFC). A zero-width space separates words; emoji, format and control
    characters are not spoken, as if they were not there.

    A tag (see `dsm_mlx.tts.tags`) other than a break is left out and the rest of the text is
    taken, with a ValueError afterwards that names the tags, unless `refused` is given.

    Args:
        tokenize: word to tokens, see `word_tokenizer`.
        frame_rate: steps a second.
        speakers: the model knows speakers, so a change of speaker puts a token before the word.
        padding_between: steps of padding forced between words; more makes for clearer speech.
        refused: called instead of raising, with the text of that error, once for each tag (20 at
            most), by whoever feeds.
    """

    def __init__(
        self,
        tokenize: Callable[[str], tuple[int, ...]],
        *,
        frame_rate: float = 12.5,
        speakers: bool = True,
        padding_between: int = 1,
        refused: Callable[[str], object] | None = None,
    ):
        self._tokenize = tokenize
        self._frame_rate = frame_rate
        self._speakers = speakers
        self._padding_between = padding_between
        self._refused = refused
        self._speaker = 0
        self._announced: int | None = None
        self._word: list[str] = []
        self._unsaid = ""  # what of the word is not spoken, as far as it may be shown
        self._written: str | None = None  # what the words that are being said stand for
        self._goes_on = False  # one of them has come out
        self._tag = ""  # what may become a tag, from its "<" on
        self._before = ""  # the character before it
        self._tag_left_out = False  # right before the next character
        self._complaints: dict[str, None] = {}
        self._told: set[str] = set()
        self._said = False
        self._left_out: list[str] = []

    @property
    def nothing_said(self) -> bool:
        """No word and no break has come out so far; at the end: nothing of the text can be said."""
        return not self._said

    @property
    def left_out(self) -> tuple[str, ...]:
        """Words of which nothing could be said: emoji, letters that the tokenizer does not know.

        Each once, the first 20, cut to 40 characters.
        """
        return tuple(self._left_out)

    def copy(self) -> ScriptReader:
        """A reader that has read the same."""
        other = copy(self)
        other._word, other._left_out = self._word.copy(), self._left_out.copy()
        other._complaints, other._told = self._complaints.copy(), self._told.copy()
        return other

    def turn(self, speaker: int, entries: list[Entry] | None = None) -> list[Entry]:
        """Speaker number `speaker` goes on from here: 0 is the main one. Ends the word before.

        Arguments and errors as for `end`; the speaker has changed in any case.
        """
        try:
            return self.end(entries)
        finally:
            self._speaker = speaker

    def feed(self, text: str, entries: list[Entry] | None = None) -> list[Entry]:
        """Add text; returns the entries it completes.

        entries: a list to add them to, for callers who go on after an error.

        Raises:
            ValueError: the text holds tags other than `<break time="..."/>`. They are left out
                and the rest of the text is taken.
        """
        entries = [] if entries is None else entries
        self.take(text, entries)
        self.tell()
        return entries

    def take(self, text: str, entries: list[Entry]) -> None:
        """As `feed`; what is wrong with it is kept for `tell`."""
        for ch in text:
            self._take(ch, entries)

    def say(self, written: str | None, said: str, entries: list[Entry]) -> None:
        """Words that are said for one written word; this ends the word before.

        Their entries carry what was written; None: each what it is itself. No tag is looked for.
        """
        self._not_a_tag(entries)
        self._end_word(entries)
        self._written, self._goes_on = written, False
        for ch in said:
            self._plain(ch, entries)
        self._end_word(entries)
        self._written = None
        self._before = ""
        if written and not self._goes_on:
            self.leave_out(written)

    def pause(self, seconds: float, entries: list[Entry]) -> None:
        """A break, which ends the word before."""
        self._not_a_tag(entries)
        self._end_word(entries)
        entries.append(Entry((), "", round(seconds * self._frame_rate)))

    def leave_out(self, what: str) -> None:
        """Remember for `left_out` that this was not said."""
        what = what[:_LONGEST_SHOWN]
        if what and what not in self._left_out and len(self._left_out) < _MOST_TOLD:
            self._left_out.append(what)

    def end(self, entries: list[Entry] | None = None) -> list[Entry]:
        """No more text follows (in this turn); returns the last entries.

        entries: as for `feed`.

        Raises:
            ValueError: the text ends inside a break tag.
        """
        entries = [] if entries is None else entries
        if tags.is_unclosed_break(self._tag):
            self._complain(f"the tag {self._tag} is not closed")
            self._tag = ""
        self._not_a_tag(entries)
        self._end_word(entries)
        self._before = ""
        self.tell()
        return entries

    def _take(self, ch: str, entries: list[Entry]) -> None:
        if not self._tag:
            if ch == "<":
                self._tag = ch
            else:
                self._plain(ch, entries)
            return
        tag = self._tag + ch
        if tags.is_tag(tag, self._before.isalnum() or self._before == "_"):
            self._tag = ""
            self._end_tag(tag, entries)
        elif tags.may_become_tag(tag):
            self._tag = tag
        else:
            self._not_a_tag(entries)
            self._take(ch, entries)

    def _end_tag(self, tag: str, entries: list[Entry]) -> None:
        self._before = ""
        try:
            steps = tags.break_steps(tag, self._frame_rate)
        except ValueError as error:
            self._complain(str(error))
            self._tag_left_out = True
            return
        self._end_word(entries)
        self._said = True
        entries.append(Entry((), "", steps))

    def _not_a_tag(self, entries: list[Entry]) -> None:
        text, self._tag = self._tag, ""
        for ch in text:
            self._plain(ch, entries)

    def _complain(self, complaint: str) -> None:
        complaint = cut(" ".join(complaint.split()), _LONGEST_COMPLAINT)
        if self._refused:
            if complaint in self._told or len(self._told) == _MOST_TOLD:
                return
            self._told.add(complaint)
        self._complaints[complaint] = None

    def tell(self) -> None:
        """Say which tags were left out, now that all that was fed has been taken.

        Raises:
            ValueError: as for `feed`.
        """
        complaints, self._complaints = list(self._complaints), {}
        if not complaints:
            return
        more = len(complaints) - _MOST_NAMED
        named = "; ".join(complaints[:_MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
        message = f"{named}: {_UNDERSTOOD}"
        if not self._refused:
            raise ValueError(message)
        self._refused(message)

    def _plain(self, ch: str, entries: list[Entry]) -> None:
        self._before = ch
        ch = _REPLACED.get(ch, ch)
        if ch.isspace():
            self._end_word(entries)
        elif ch and _unspoken(ch):
            if ch.isprintable() and len(self._unsaid) < _LONGEST_SHOWN:
                self._unsaid += ch
        elif ch:
            if self._tag_left_out and ch.isalnum():  # as in one<br/>two, but not <b>one</b>!
                self._end_word(entries)
            self._word.append(ch)
        self._tag_left_out = self._tag_left_out and not ch

    def _end_word(self, entries: list[Entry]) -> None:
        word = unicodedata.normalize("NFC", "".join(self._word))
        unsaid, self._unsaid, self._tag_left_out = self._unsaid, "", False
        self._word.clear()
        tokens = self._tokenize(word) if word else ()
        if not tokens:
            if self._written is None:
                self.leave_out(word + unsaid)
            return
        self._said = True
        if self._speakers and self._announced != self._speaker:
            self._announced = self._speaker
            tokens = (MAIN_SPEAKER if self._speaker == 0 else OTHER_SPEAKER, *tokens)
        padding = 0
        if self._padding_between > 0:
            padding = self._padding_between + len(tokens) - 1
        if self._written is None:
            entries.append(Entry(tokens, word, padding))
            return
        entries.append(Entry(tokens, self._written, padding, self._goes_on))
        self._goes_on = True
