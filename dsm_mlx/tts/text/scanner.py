"""Text, character by character, to words without marks, pauses, tags and what is left out."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

from dsm_mlx.tts import tags
from dsm_mlx.tts.text import marks, pauses

_LONGEST_TARGET, _LONGEST_NOTE, _LONGEST_LINE = 2000, 100, 200
_NO_BREAK = "\u00a0\u202f"
_GLUED = "!?:;»"  # that French writes after a space at which no line ends
_LINE_ENDS = {"\n": 1, "\x0b": 1, "\x0c": 2, "\x85": 1, "\u2028": 1, "\u2029": 2}


@dataclass(frozen=True)
class Word:
    """A word without the marks of Markdown."""

    text: str


@dataclass(frozen=True)
class Gap:
    """A pause of so many seconds before the next word, if something was said before."""

    seconds: float


@dataclass(frozen=True)
class Tag:
    """A tag as it is written. breaks: it is a break, and ends the word before."""

    text: str
    breaks: bool


@dataclass(frozen=True)
class LeftOut:
    """What is not said."""

    what: str


Event = Word | Gap | Tag | LeftOut


class Scanner:
    """Takes one character at a time, so that no piece of text can change what comes of it.

    Held back are the word in progress, what may become a tag (see `tags`), where a link leads
    (2000 characters at most, and not beyond its line), and notes such as [^1] (100 characters).

    markdown: read Markdown, lines and paragraphs; without, only words and tags are told apart.
    """

    def __init__(self, markdown: bool):
        self._markdown = markdown
        self._begin()

    def _begin(self) -> None:
        self._mode = self._in_text
        self._word: list[str] = []
        self._held = ""  # what has been read of a tag, a link's target, a note or a line of code
        self._opened = ""  # how that began
        self._before = ""  # the character before
        self._tag_left_out = False  # right before the next character
        self._glue = False  # a space at which no line ends stands right before it
        self._code_lines = 0
        self._newlines = 0  # since the last word
        self._line_start, self._item, self._table = True, False, False
        self._heading = self._after_heading = self._block = False
        self._sentence_ended, self._cell = True, False

    def copy(self) -> Scanner:
        """A scanner that has read the same."""
        other = copy(self)
        other._word = self._word.copy()
        other._mode = getattr(other, self._mode.__name__)
        return other

    def take(self, ch: str, events: list[Event]) -> None:
        """The next character; what it completes is added to `events`."""
        self._mode(ch, events)

    def end(self, events: list[Event]) -> None:
        """No more text follows, in this turn. What was held back is text, but for an unclosed
        break, which is a tag."""
        if self._mode == self._in_tag and tags.is_unclosed_break(self._held):
            self._mode = self._in_text
            self._end_word(events)
            events.append(Tag(self._held, True))
        elif self._mode == self._in_code:
            self._end_code(events)
        else:
            while self._mode in (self._in_tag, self._in_target, self._in_note):
                self._as_text(events)
            self._end_word(events)
            if self._mode == self._in_code:  # it began with the last word
                self._end_code(events)
        self._begin()

    # ---- text

    def _in_text(self, ch: str, events: list[Event]) -> None:
        if ch == "<":
            self._mode, self._held, self._opened = self._in_tag, ch, ""
            return
        if self._markdown and ch in _NO_BREAK:
            self._glue = True
        elif ch.isspace():
            self._end_word(events)
            if self._mode == self._in_text:
                self._end_line(_LINE_ENDS.get(ch, 0))
            else:
                self._mode(ch, events)
        elif not (self._markdown and self._opens(ch, events)):
            self._append(ch, events)
        self._before = ch

    def _append(self, ch: str, events: list[Event]) -> None:
        if self._glue and ch not in _GLUED and self._word != ["«"]:
            self._end_word(events)
        if self._tag_left_out and ch.isalnum():  # as in one<br/>two, but not <b>one</b>!
            self._end_word(events)
        self._glue = self._tag_left_out = False
        self._word.append(ch)

    def _opens(self, ch: str, events: list[Event]) -> bool:
        """Whether the character is one of Markdown's that are no part of a word."""
        last = self._word[-1] if self._word and not self._glue else ""
        if ch == "(" and last == "]":
            self._mode, self._held, self._opened = self._in_target, "", ch
        elif ch == "[" and last == "]":
            self._mode, self._held, self._opened = self._in_note, "", ch
        elif ch == "^" and last == "[":
            self._word.pop()
            self._mode, self._held, self._opened = self._in_note, "", "[^"
        elif ch == "|" and (self._table or (self._line_start and not self._word)):
            self._end_word(events)
            self._block = self._block or self._line_start
            self._table = self._cell = True
        else:
            return False
        return True

    def _end_line(self, ends: int) -> None:
        if not ends:
            return
        if not (self._table and self._line_start):  # the line under a table's head
            self._newlines += ends
        self._after_heading = self._after_heading or self._heading
        self._heading = self._table = self._cell = self._block = False
        self._line_start = True

    # ---- words

    def _end_word(self, events: list[Event]) -> None:
        word = "".join(self._word)
        self._word.clear()
        self._glue = self._tag_left_out = False
        if not word:
            return
        if not self._markdown:
            events.append(Word(word))
            return
        if self._table:
            word = "" if marks.COLUMN.fullmatch(word) else word
        elif self._line_start:
            word = self._at_line_start(word)
        elif word in marks.DASHES or word == "|":
            events.append(Gap(pauses.CELL))
            return
        elif self._heading and marks.HEADING.fullmatch(word):
            return
        if word := marks.without_marks(word):
            self._tell_gap(events)
            events.append(Word(word))
            self._sentence_ended = pauses.ends_sentence(word)

    def _tell_gap(self, events: list[Event]) -> None:
        starts = self._block or self._after_heading
        seconds = pauses.before_line(
            self._newlines, sentence_ended=self._sentence_ended, starts_block=starts
        )
        if self._cell and not self._line_start:
            seconds = max(seconds, pauses.CELL)
        if seconds:
            events.append(Gap(seconds))
        self._newlines = 0
        self._line_start = self._cell = self._block = self._after_heading = False

    def _at_line_start(self, word: str) -> str:
        """What of a line's first word is to be said: nothing of what only marks the line."""
        if word[0] == ">":
            word = word.lstrip(">")
        if marks.FENCE.fullmatch(word):
            self._mode, self._held, self._code_lines = self._in_code, "", -1
            self._opened = word[: len(word) - len(word.lstrip(word[0]))]
        elif marks.DEFINITION.fullmatch(word):
            self._mode = self._in_rest
        elif marks.HEADING.fullmatch(word):
            self._block = self._heading = True
        elif word in marks.ITEMS:
            self._block = self._item = True
        elif self._item and word in marks.TASKS:
            pass
        elif marks.RULE.fullmatch(word):
            self._newlines += 2
        else:
            if number := marks.NUMBERED.fullmatch(word):
                new = number[1] == "1" or self._newlines > 1 or self._sentence_ended or self._item
                self._block = self._item = new
            elif self._newlines > 1:
                self._item = False
            return word
        return ""

    # ---- what is held back

    def _in_tag(self, ch: str, events: list[Event]) -> None:
        tag = self._held + ch
        if tags.is_tag(tag, self._before.isalnum() or self._before == "_"):
            self._mode, self._before = self._in_text, ""
            breaks = tags.is_break(tag)
            if breaks:
                self._end_word(events)
            self._tag_left_out = not breaks
            events.append(Tag(tag, breaks))
        elif tags.may_become_tag(tag):
            self._held = tag
        else:
            self._as_text(events)
            self._mode(ch, events)

    def _in_target(self, ch: str, events: list[Event]) -> None:
        """Where a link leads: not said."""
        self._held += ch
        if marks.TARGET.fullmatch(self._held):
            self._mode = self._in_text
        elif len(self._held) > _LONGEST_TARGET or not marks.TARGET_SO_FAR.fullmatch(self._held):
            self._as_text(events)

    def _in_note(self, ch: str, events: list[Event]) -> None:
        """The number of a note, or a link's name: not said."""
        if ch == "]":
            self._mode = self._in_text
            return
        self._held += ch
        if len(self._held) > _LONGEST_NOTE or ch in "\n[":
            self._as_text(events)

    def _as_text(self, events: list[Event]) -> None:
        """It was none: read again what was held back, now as text."""
        text, self._held, self._mode = self._held, "", self._in_text
        if self._opened:
            opened, self._opened = self._opened, ""
            for ch in opened:
                self._append(ch, events)
        else:
            self._append(text[0], events)
            self._before, text = text[0], text[1:]
        for ch in text:
            self._mode(ch, events)

    def _in_code(self, ch: str, events: list[Event]) -> None:
        """A block of code: left out, and told."""
        if ch != "\n":
            self._held = (self._held + ch)[:_LONGEST_LINE]
            return
        line, self._held = self._held.strip(), ""
        if self._code_lines >= 0 and line.startswith(self._opened) and set(line) == {line[0]}:
            self._end_code(events)
        else:
            self._code_lines += 1

    def _end_code(self, events: list[Event]) -> None:
        line = self._held.strip()
        if line and not line.startswith(self._opened):
            self._code_lines += 1
        lines = max(self._code_lines, 0)
        events.append(LeftOut(f"a code block of {lines} line{'' if lines == 1 else 's'}"))
        self._mode, self._held, self._opened = self._in_text, "", ""
        self._newlines, self._line_start = 2, True

    def _in_rest(self, ch: str, events: list[Event]) -> None:
        """The rest of a line that says where a link leads: not said."""
        if ch == "\n":
            self._mode = self._in_text
            self._end_line(1)
