"""What is wished of a row's next token: text that it has to say, phrases that it shall prefer.

Plain Python on small integers; `SttStep` grants the wishes on the device.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.stt.boost import ROOT, SURE, Boost, Place

FREE = (NEW_WORD, PADDING)
"""What may always be said while text is forced; reference: `PromptHook.padding_tokens`."""


class Wish(NamedTuple):
    """Tokens, what is added to the logit of each, and whether no others can be said. sure: nothing
    is added where the model's own token is likelier than that."""

    ids: tuple[int, ...]
    values: tuple[float, ...]
    only: bool = False
    sure: float = math.inf


class Following(Enum):
    """What becomes of a phrase with a token: nothing yet; it is whole; it has broken off."""

    NONE = 0
    WHOLE = 1
    BROKEN = 2


class Prompted(NamedTuple):
    """What a row's host side knows when a prompt has been heard: what `WordReader.plain` gives,
    with frame 0 the first after the prompt, and `Forcing.plain`. lasts: whether it is heard again
    after a reset."""

    words: list
    forcing: list
    lasts: bool


class Forcing:
    """Text that a row has to say next, in order, when it is time for each piece: until it is said,
    nothing but it can be (reference: `PromptHook` in scripts/stt_from_file_with_prompt_pytorch.py).

    The reference's has no end where the text does not fit the sound. Here it is over after a number
    of frames.
    """

    def __init__(self, ids: Iterable[int] = (), left: int = 0, patience: int = 0):
        """ids: the tokens. left: frames until what has not been said is let go. patience: frames
        that there are again whenever one is said; 0: no more than there were."""
        self.ids, self.left, self._patience = deque(ids), left, patience

    def __bool__(self) -> bool:
        return bool(self.ids)

    def wish(self) -> Wish:
        """While there is something to force."""
        return Wish((*FREE, self.ids[0]), (0.0, 0.0, 0.0), only=True)

    def push(self, token: int) -> None:
        """A frame's token has been said."""
        self.left -= 1
        if self.ids and token == self.ids[0]:
            self.ids.popleft()
            self.left = max(self.left, self._patience)
        if self.left <= 0:
            self.ids.clear()

    def plain(self) -> list:
        return [list(self.ids), self.left, self._patience]


class Steering:
    """Of one row. boost: phrases to prefer, or None."""

    def __init__(self, boost: Boost | None = None):
        self._boost = boost
        self.forcing = Forcing()
        self._at, self._last = ROOT, PADDING
        self._skip = False

    @property
    def wants_tokens(self) -> bool:
        """Whether a frame's token has to be known before the next frame."""
        return bool(self.forcing) or self._boost is not None

    def wish(self) -> Wish | None:
        """Of the next token."""
        if self.forcing:
            return self.forcing.wish()
        if self._boost is None or self._skip:
            return None
        ids, values = self._boost.wishes(self._at, self._last)
        return Wish(ids, values, sure=math.inf if self._at.node else SURE) if ids else None

    def push(self, token: int, probability: float) -> Following:
        """A frame's token has been said, which the model itself gave that probability; what has
        become of the phrase that was being followed."""
        if self.forcing:
            self.forcing.push(token)
        found = Following.NONE
        if self._boost is not None:
            before = self._at
            self._at = self._boost.follow(before, token, self._last, probability)
            if before.node and not self._boost.goes_on(before, self._at):
                found = Following.BROKEN
            if self._boost.is_whole(before, token):
                found = Following.WHOLE
        self._last, self._skip = token, False
        return found

    @property
    def prefers(self) -> bool:
        """Whether some tokens are preferred to others in the next frame."""
        wish = self.wish()
        return wish is not None and not wish.only

    @property
    def tries(self) -> bool:
        """Whether a phrase is being followed that the model itself would not have said so far."""
        return self._at.spent > 0

    @property
    def is_whole(self) -> bool:
        """Whether the phrase that is followed would be whole if its word were over now."""
        return self._boost is not None and self._boost.is_whole(self._at, PADDING)

    def skip(self) -> None:
        """The next token is to be the model's own."""
        self._skip = True

    def restart(self, forcing: Iterable = ()) -> None:
        """The model starts afresh; forcing: what `Forcing.plain` gave, of text that comes first."""
        self.forcing = Forcing(*forcing)
        self._at, self._last, self._skip = ROOT, PADDING, False

    def plain(self) -> list:
        """All that it knows, as JSON can hold it."""
        return [self.forcing.plain(), list(self._at), self._last, self._skip]

    def restore(self, values: list) -> None:
        """What `plain` gave, of the same phrases."""
        forcing, at, self._last, self._skip = values
        self.forcing, self._at = Forcing(*forcing), Place(*at)
