"""Runs the language model of a speech-to-text case of the reference on the codes it was given."""

from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map

from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.stt.step import SttStep


class NoCodec:
    """Stands for Mimi: what comes in as sound (batch, n_q) already is the frame's codes."""

    def encoder_state(self, batch: int) -> dict:
        return {"transformer": {"rings": []}}

    def latent_step(self, codes, state, active=None):
        return codes[:, None].astype(mx.float32), state

    @property
    def quantizer(self):
        return self

    def encode(self, latent):
        return latent[:, 0, :, None].astype(mx.int32)


def load(folder: Path, dtype: str = "float32") -> MultistreamLM:
    return Checkpoint.find(folder, "stt").load_lm(dtype=dtype)


def listen(lm, codes: np.ndarray, condition=None, codec=None, looks_at=lambda positions: None):
    """codes (rows, n_q, frames) -> tokens (rows, frames), pauses (rows, frames, heads).

    With a codec, sound (rows, samples) in the place of the codes.
    """
    step = SttStep(lm, codec or NoCodec())
    if codec:
        codes = codes.reshape(len(codes), -1, codec.config.frame_size).swapaxes(1, 2)
    given = [None] * len(codes) if condition is None else mx.split(condition, len(codes))
    begun = [step.beginning(one) for one in given]
    state = tree_map(lambda *rows: mx.concatenate(rows), begun[0], *begun[1:])
    tokens, pauses = [], []
    for i, frame in enumerate(np.moveaxis(codes, -1, 0)):
        output, state = step(mx.array(frame), state, seen=looks_at(i + 2))
        mx.eval(state)
        tokens.append(np.array(output.text))
        pauses.append(np.array(output.pauses))
    return np.stack(tokens, 1), np.stack(pauses, 1)


def forced_logits(lm, codes: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Logits of every step, the priming step first, when `tokens` is what was said.

    codes: (rows, n_q, frames); tokens: (rows, frames + 1). Returns (rows, frames + 1, text_card).
    """
    config = lm.config
    rows = len(codes)
    state = lm.transformer.init_state(rows, dtype=lm.dtype)
    text = np.full(rows, config.text_card, np.int32)
    audio = np.full((rows, config.n_q), config.card, np.int32)
    logits = []
    for step in range(tokens.shape[1]):
        hidden, state = lm(mx.array(text), mx.array(audio), state)
        logits.append(np.array(lm.text_logits(hidden)))
        mx.eval(state)
        text, audio = tokens[:, step], codes[..., min(step, codes.shape[-1] - 1)]
    return np.stack(logits, 1)
