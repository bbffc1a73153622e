"""What text to speech has to be told and has to say at each step, from words with times.

The reference's own state machine writes the text streams: it is given "new word" when the next
word is due, and what it answers is what it will answer when the model speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from moshi.models.tts import Entry, StateMachine, TokenIds
from speech.sessions import Spoken

from dsm_mlx.lm.tokens import MAIN_SPEAKER, NEW_WORD, OTHER_SPEAKER, PADDING

FRAME_RATE = 12.5
UNTOLD = -100
_BREAK = 0.7  # seconds between words from which on the script says how long the pause is
_BETWEEN = 1  # steps of padding after a word: the reference's default
_FIRST_PADDING = 2  # the reference's default
_UNLIMITED = 10**6
_LATEST = 8  # steps that words may lag behind when many short ones follow one another


@dataclass
class Scripted:
    """tokens int64 (steps,), both streams in one; decisions: NEW_WORD, PADDING or UNTOLD."""

    tokens: np.ndarray
    decisions: np.ndarray


def entries(
    words: Sequence[Spoken], pieces: Callable[[str], Sequence[int]]
) -> tuple[list[Entry], list[int]]:
    """The script of a session, and the step at which each of its entries is due."""
    script, due = [], []
    last_end, speaker = 0.0, None
    for word in words:
        pause = word.start - last_end
        if script and pause >= _BREAK:
            steps = round(pause * FRAME_RATE)
            script.append(Entry([], "", padding=steps))
            due.append(round(last_end * FRAME_RATE))
        tokens = list(pieces(word.text))
        if word.speaker != speaker:
            tokens = [MAIN_SPEAKER if word.speaker == 0 else OTHER_SPEAKER, *tokens]
        script.append(Entry(tokens, word.text, padding=max(0, _BETWEEN + len(tokens) - 1)))
        due.append(round(word.start * FRAME_RATE))
        last_end, speaker = word.end, word.speaker
    return script, due


def scripted(
    words: Sequence[Spoken],
    steps: int,
    ahead: int,
    text_card: int,
    pieces: Callable[[str], Sequence[int]],
) -> Scripted | None:
    """The streams of a session; None if its words come faster than the machine can say them.

    A step whose answer the machine forces is UNTOLD: the model is never asked there.
    """
    script, due = entries(words, pieces)
    machine = StateMachine(TokenIds(text_card + 1), ahead, _UNLIMITED, _FIRST_PADDING)
    state = machine.new_state(script)
    # When speaking the first word comes as soon as it may; here it comes when it is spoken.
    state.remaining_padding = _UNLIMITED
    end = round(words[-1].end * FRAME_RATE)
    tokens = np.zeros(steps, np.int64)
    decisions = np.full(steps, UNTOLD, np.int64)
    for step in range(steps):
        asked = not state.queued and state.forced_padding <= 0 and state.end_step is None
        taken = len(state.consumption_times)
        late = step - (due[taken] if taken < len(due) else end)
        if late > _LATEST and asked:
            return None
        # With nothing left, asking for a new word is how the model ends.
        wanted = NEW_WORD if late >= 0 else PADDING
        tokens[step], _ = machine.process(step, state, wanted)
        if asked:
            decisions[step] = wanted
    return Scripted(tokens, decisions)
