"""Text to words to text tokens: what the model is given to say, step by step.

`ScriptReader` cuts text, in whatever pieces it arrives, into `Entry` values, one for each word and
each break. `ScriptMachine` hands their tokens to the model, one decision a step. Both are plain
Python on strings and small integers and know nothing of arrays, models or sound.

Reference: `script_to_entries` and `StateMachine` of moshi 0.2.13 (`models/tts.py`); paper
2509.08753, section 3.3.
"""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice

from dsm_mlx.lm.tokens import MAIN_SPEAKER, NEW_WORD, NOTHING, OTHER_SPEAKER, PADDING

_BREAK = re.compile(r"""<break\s+time=(["'])(\d+(?:\.\d*)?)(ms|s)\1\s*/?>""")
_LONGEST_TAG = 200
_LONGEST_BREAK = 3600.0
_REPLACED = {"\u2019": "'", ":": " ", "(": "", ")": ""}


@dataclass(frozen=True)
class Entry:
    """A word, or a break (`tokens` empty).

    `padding` is the number of steps, after the entry is taken, before another may be.
    """

    tokens: tuple[int, ...]
    text: str
    padding: int


def word_tokenizer(processor) -> Callable[[str], tuple[int, ...]]:
    """A function from a word to its tokens, for a `SentencePieceProcessor`.

    What the tokenizer does not know is left out: its id for that is 0, which to the model means
    "new word". A word of which nothing else is left has no tokens.
    """
    unknown = processor.unk_id()

    def tokenize(word: str) -> tuple[int, ...]:
        ids = processor.encode(word)
        known = tuple(i for i in ids if i != unknown)
        if len(known) < len(ids) and all(processor.id_to_piece(i) == "▁" for i in known):
            return ()
        return known

    return tokenize


def _unspoken(ch: str) -> bool:
    """Control and format characters, half surrogates, emoji and what joins them."""
    if ch.isascii():
        return unicodedata.category(ch) == "Cc"
    category = unicodedata.category(ch)
    if category[0] == "C" or ch in "\ufe0e\ufe0f\u20e3":
        return True
    return category in ("So", "Sk") and ch >= "\u2600"


def break_steps(tag: str, frame_rate: float) -> int:
    """The length in steps of a tag such as `<break time="500ms"/>` or `<break time="0.5s"/>`.

    Raises:
        ValueError: it is any other tag (named in the message), or a break of more than an hour.
    """
    match = _BREAK.fullmatch(tag)
    if match is None:
        raise ValueError(
            f'unknown tag {tag} in the text: only <break time="500ms"/> and <break time="0.5s"/> '
            "are understood"
        )
    seconds = float(match[2]) / (1000.0 if match[3] == "ms" else 1.0)
    if seconds > _LONGEST_BREAK:
        raise ValueError(f"{tag} is too long: a break lasts an hour at most")
    return round(seconds * frame_rate)


class ScriptReader:
    """Text, fed in any pieces, to entries. The pieces do not change the result.

    As the reference does, a curly apostrophe becomes a straight one, a colon a space, and
    parentheses are dropped; all other punctuation stays with its word. Emoji and control
    characters are not spoken.

    Args:
        tokenize: word to tokens, see `word_tokenizer`.
        frame_rate: steps a second.
        speakers: the model knows speakers, so a change of speaker puts a token before the word.
        padding_between: steps of padding forced between words; more makes for clearer speech.
    """

    def __init__(
        self,
        tokenize: Callable[[str], tuple[int, ...]],
        *,
        frame_rate: float = 12.5,
        speakers: bool = True,
        padding_between: int = 1,
    ):
        self._tokenize = tokenize
        self._frame_rate = frame_rate
        self._speakers = speakers
        self._padding_between = padding_between
        self._speaker = 0
        self._announced: int | None = None
        self._word: list[str] = []
        self._tag = ""  # what may become a tag, from its "<" on

    def turn(self, speaker: int) -> list[Entry]:
        """Speaker number `speaker` goes on from here: 0 is the main one. Ends the word before."""
        entries = self.end()
        self._speaker = speaker
        return entries

    def feed(self, text: str, entries: list[Entry] | None = None) -> list[Entry]:
        """Add text; returns the entries it completes.

        entries: a list to add them to, for callers who go on after an error.

        Raises:
            ValueError: the text holds a tag other than `<break time="..."/>`. The tag is left out
                and the rest of the text is taken.
        """
        entries = [] if entries is None else entries
        refused: ValueError | None = None
        for ch in text:
            if self._tag:
                try:
                    self._in_tag(ch, entries)
                except ValueError as error:
                    refused = refused or error
            elif ch == "<":
                self._tag = ch
            else:
                self._plain(ch, entries)
        if refused:
            raise refused
        return entries

    def end(self, entries: list[Entry] | None = None) -> list[Entry]:
        """No more text follows (in this turn); returns the last entries.

        entries: as for `feed`.

        Raises:
            ValueError: the text ends inside a break tag.
        """
        entries = [] if entries is None else entries
        unclosed = self._tag if self._tag.startswith("<break") else ""
        if unclosed:
            self._tag = ""
        self._not_a_tag(entries)
        self._end_word(entries)
        if unclosed:
            raise ValueError(f"the tag {unclosed} in the text is not closed")
        return entries

    def _in_tag(self, ch: str, entries: list[Entry]) -> None:
        if ch == "<" or len(self._tag) == _LONGEST_TAG:
            self._not_a_tag(entries)
            self._tag = "<" if ch == "<" else ""
        elif len(self._tag) == 1 and not (ch.isalpha() or ch in "/!?"):
            self._not_a_tag(entries)
        else:
            self._tag += ch
            if ch == ">":
                self._end_tag(entries)
            return
        if ch != "<":
            self._plain(ch, entries)

    def _end_tag(self, entries: list[Entry]) -> None:
        tag, self._tag = self._tag, ""
        steps = break_steps(tag, self._frame_rate)
        self._end_word(entries)
        entries.append(Entry((), "", steps))

    def _not_a_tag(self, entries: list[Entry]) -> None:
        text, self._tag = self._tag, ""
        for ch in text:
            self._plain(ch, entries)

    def _plain(self, ch: str, entries: list[Entry]) -> None:
        ch = _REPLACED.get(ch, ch)
        if ch.isspace():
            self._end_word(entries)
        elif ch and not _unspoken(ch):
            self._word.append(ch)

    def _end_word(self, entries: list[Entry]) -> None:
        word = "".join(self._word)
        self._word.clear()
        tokens = self._tokenize(word) if word else ()
        if not tokens:
            return
        if self._speakers and self._announced != self._speaker:
            self._announced = self._speaker
            tokens = (MAIN_SPEAKER if self._speaker == 0 else OTHER_SPEAKER, *tokens)
        padding = 0
        if self._padding_between > 0:
            padding = self._padding_between + len(tokens) - 1
        entries.append(Entry(tokens, word, padding))


@dataclass
class ScriptMachine:
    """Decides, step by step, which text token the model is given next.

    The model is free only in when a word begins: it samples `NEW_WORD` for that, anything else
    counts as padding. While a word has tokens to give, or padding is forced, it is not asked.

    With `second_stream_ahead = n > 0` the model also hears the n-th word ahead, on a second text
    stream: a step's token is then `(second + 1) * (text_card + 1) + main`. A word cannot begin
    before the word n ahead is known, or the text has ended: see `blocked`.

    Args:
        text_card: cardinality of the text vocabulary.
        second_stream_ahead: how many words ahead the second stream looks; 0 without one.
        max_padding: a new word is forced after so many steps of padding.
        initial_padding: steps of padding before the first word.
    """

    text_card: int
    second_stream_ahead: int = 0
    max_padding: int = 8
    initial_padding: int = 2

    end_step: int | None = None
    """The step at which the model asked for a word and the text had ended."""

    _entries: deque[Entry] = field(default_factory=deque)
    _ended: bool = False
    _queued: deque[int] = field(default_factory=deque)
    _ahead: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._may_pad = self._must_pad = self.initial_padding

    def add(self, entries: Iterable[Entry]) -> None:
        """Append entries to what is to be said."""
        self._entries.extend(entries)

    def end(self) -> None:
        """No more entries follow."""
        self._ended = True

    @property
    def empty(self) -> bool:
        """Nothing waits to be said and nothing more follows."""
        return self._ended and not self._entries

    @property
    def blocked(self) -> bool:
        """Whether the next step could need text that has not come yet, whatever is sampled."""
        if self._ended or self._decide(NEW_WORD) == PADDING:
            return False
        if not self._entries:
            return True
        if not self._entries[0].tokens or not self.second_stream_ahead:
            return False
        return self._word_ahead() is None

    def step(self, step: int, token: int) -> tuple[int, Entry | None]:
        """One decision.

        Args:
            step: the number of this step.
            token: what the model sampled.

        Returns:
            The text token the model is given next (both streams in one number where there are
            two), and the entry that begins at this step, if one does.
        """
        entry = None
        token = self._decide(token)
        if token == NEW_WORD:
            token, entry = self._next_entry(step)
        second = NOTHING
        if token == PADDING:
            self._may_pad = max(0, self._may_pad - 1)
            self._must_pad = max(0, self._must_pad - 1)
            token = self._queued.popleft() if self._queued else PADDING
        elif self.second_stream_ahead:
            # The mark of a new word goes to the second stream, so that the word's first token can
            # go out in the same step.
            second = NEW_WORD
            token = self._queued.popleft() if self._queued else PADDING
        if not self.second_stream_ahead:
            return token, entry
        if second == NOTHING and self._ahead:
            second = self._ahead.popleft()
        return (second + 1) * (self.text_card + 1) + token, entry

    def _decide(self, token: int) -> int:
        if self._queued or self._must_pad > 0:
            return PADDING
        if self._may_pad <= 0:
            return NEW_WORD
        return NEW_WORD if token == NEW_WORD else PADDING

    def _next_entry(self, step: int) -> tuple[int, Entry | None]:
        """Take the next entry; returns it, after the token of this step, NEW_WORD or PADDING."""
        if not self._entries:
            first_time = self.end_step is None
            if first_time:
                self.end_step = step
            return (NEW_WORD if first_time and self.second_stream_ahead else PADDING), None
        entry = self._entries.popleft()
        self._must_pad = entry.padding
        if not entry.tokens:
            return PADDING, entry
        self._queued.extend(entry.tokens)
        self._may_pad = self.max_padding
        if self.second_stream_ahead:
            ahead = self._word_ahead(skip_first=False)
            self._ahead.extend(ahead.tokens if ahead else ())
        return NEW_WORD, entry

    def _word_ahead(self, skip_first: bool = True) -> Entry | None:
        """The n-th word from the front of the queue, breaks not counted, if it is known."""
        words = (e for e in islice(self._entries, int(skip_first), None) if e.tokens)
        return next(islice(words, self.second_stream_ahead - 1, None), None)
