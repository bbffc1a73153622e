"""Which text token the model is given next, step by step.

Reference: `StateMachine` of moshi 0.2.13 (`models/tts.py`); paper 2509.08753, section 3.3.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from itertools import islice

from dsm_mlx.lm.tokens import NEW_WORD, NOTHING, PADDING
from dsm_mlx.tts.script import Entry


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
        more_padding: steps of padding forced after each word beyond its own, on average; breaks
            stay as long as they are.
    """

    text_card: int
    second_stream_ahead: int = 0
    max_padding: int = 8
    initial_padding: int = 2
    more_padding: float = 0.0

    end_step: int | None = None
    """The step at which the model asked for a word and the text had ended."""

    _entries: deque[Entry] = field(default_factory=deque)
    _ended: bool = False
    _queued: deque[int] = field(default_factory=deque)
    _ahead: deque[int] = field(default_factory=deque)
    _owed: float = 0.0  # of `more_padding`, the part of a step that is still to be given

    def __post_init__(self) -> None:
        self._may_pad = self._must_pad = self.initial_padding

    def copy(self) -> ScriptMachine:
        """A machine that has been given the same and will decide the same."""
        other = copy(self)
        other._entries, other._queued = self._entries.copy(), self._queued.copy()
        other._ahead = self._ahead.copy()
        return other

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
    def goes_on(self) -> bool:
        """Whether the next entry is said for the same written word as the last one."""
        return bool(self._entries) and self._entries[0].goes_on

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

    @property
    def offered(self) -> tuple[int, int]:
        """What `step` would give the model next if it sampled NEW_WORD, and what if not.

        Text that comes meanwhile changes neither, unless the machine is `blocked`.
        """
        word, none = (self._glimpse().step(0, token)[0] for token in (NEW_WORD, PADDING))
        return word, none

    def _glimpse(self) -> ScriptMachine:
        """A copy that knows of the text what one step needs."""
        other, ahead = copy(self), self.second_stream_ahead
        other._queued, other._ahead = self._queued.copy(), self._ahead.copy()
        other._entries = deque(islice(self._entries, 1))
        for entry in islice(self._entries, 1, None):
            if not ahead:
                break
            other._entries.append(entry)
            ahead -= bool(entry.tokens)
        return other

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
        self._must_pad += self._more()
        self._queued.extend(entry.tokens)
        self._may_pad = self.max_padding
        if self.second_stream_ahead:
            ahead = self._word_ahead(skip_first=False)
            self._ahead.extend(ahead.tokens if ahead else ())
        return NEW_WORD, entry

    def _more(self) -> int:
        """Whole steps, of which the mean over words is `more_padding`."""
        owed = self._owed + self.more_padding
        whole = round(owed)
        self._owed = owed - whole
        return whole

    def _word_ahead(self, skip_first: bool = True) -> Entry | None:
        """The n-th word from the front of the queue, breaks not counted, if it is known."""
        words = (e for e in islice(self._entries, int(skip_first), None) if e.tokens)
        return next(islice(words, self.second_stream_ahead - 1, None), None)
