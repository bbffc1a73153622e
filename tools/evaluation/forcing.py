"""A language model made to say given tokens, and what it would rather have said."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx
import numpy as np
from tqdm import tqdm

from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.runtime.device import compiled
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.transformer import Shared


def listen(
    lm: MultistreamLM,
    codes: np.ndarray,
    condition: mx.array | None = None,
    tokens: np.ndarray | None = None,
) -> Pieces[tuple[np.ndarray, np.ndarray]]:
    """A speech-to-text model over whole recordings, step by step.

    codes: int32 (rows, n_q, frames). tokens: int32 (rows, frames), what is said; None: what the
        model finds most likely.
    Returns the tokens and float32 logits (rows, frames, text_card).
    """
    rows, _, frames = codes.shape
    config = lm.config
    # The priming step of initial tokens, then each stream by its delay.
    pattern = DelayPattern(config.delays[1:])
    step = compiled(lambda text, audio, state: _step(lm, text, audio, state, condition))
    state = lm.transformer.init_state(rows, dtype=lm.dtype)
    text = np.full(rows, config.text_card, np.int32)
    said, all_logits = [], []
    for t in tqdm(range(frames + 1), desc="forcing", disable=None, leave=False):
        logits, state = step(
            mx.array(text), mx.array(pattern.lined_up(codes, t - 1, config.card)), state
        )
        mx.eval(logits, state)
        logits = np.array(logits)
        text = logits.argmax(-1).astype(np.int32)
        if t and tokens is not None:
            text = tokens[:, t - 1]
        if t:  # what the priming step says is nobody's word
            said.append(text)
            all_logits.append(logits)
        yield
    return np.stack(said, 1), np.stack(all_logits, 1)


def _step(lm, text, audio, state, condition):
    hidden, state = lm(text, audio, state, condition=condition)
    return lm.text_logits(hidden), state


@dataclass
class Spoken:
    """What a text-to-speech model did in one session, step by step.

    inputs: int32 (steps, 1 + n_q), what entered it. text: int32 (steps,), what it was given to
    say. codes: int32 (steps, codebooks), -1 where a stream had not begun.
    """

    inputs: np.ndarray
    text: np.ndarray
    codes: np.ndarray


def speak(
    lm: MultistreamLM,
    spoken: Spoken,
    state: dict,
    condition: mx.array | None = None,
    cross: list[Shared] | None = None,
) -> Pieces[tuple[np.ndarray, np.ndarray]]:
    """A text-to-speech model made to say what another one said, step by step.

    state: of the transformer at the start. condition, cross: as the model takes them.
    Returns float32 text logits (steps, text_card) and audio logits (full steps, codebooks, card)
    of the steps in which all streams have begun.
    """
    run = compiled(
        lambda tokens, state: lm(
            tokens[:, 0], tokens[:, 1:], state, condition=condition, cross=cross
        )
    )
    depth = compiled(lambda text, hidden, codes: _depth_logits(lm, text, hidden, codes))
    text_logits, audio_logits = [], []
    steps = tqdm(range(len(spoken.text)), desc="forcing", disable=None, leave=False)
    for t in steps:
        hidden, state = run(mx.array(spoken.inputs[t : t + 1]), state)
        text_logits.append(np.array(lm.text_logits(hidden)[0]))
        if (spoken.codes[t] >= 0).all():
            text, codes = mx.array(spoken.text[t : t + 1]), mx.array(spoken.codes[t : t + 1])
            audio_logits.append(np.array(depth(text, hidden, codes)))
        mx.eval(state)
        yield
    return np.stack(text_logits), np.stack(audio_logits)


def _depth_logits(lm, text, hidden, codes):
    depth = lm.depformer
    inputs = depth.linear_in(hidden)
    past = depth.no_past(inputs)
    logits = []
    for k in range(codes.shape[1]):
        token = codes[:, k - 1] if k else text
        found, past = depth.slice(k, token, inputs, past)
        logits.append(found[0].astype(mx.float32))
    return mx.stack(logits)
