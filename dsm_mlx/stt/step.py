"""One frame of every row: sound in, the next text token and the pause probabilities out."""

from __future__ import annotations

import mlx.core as mx

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.runtime.device import compiled
from dsm_mlx.transformer import select_rows


class SttStep:
    """The compiled step of a model, shared by all its sessions. It holds no state.

    A state is {"codec", "lm", "text" int32 (batch,), "condition" (batch, 1, dim) or absent,
    "history" of `DelayPattern.window` or absent}.
    """

    def __init__(self, lm: MultistreamLM, mimi: MimiModel):
        self.lm, self.mimi = lm, mimi
        self.delays = DelayPattern(lm.config.delays[1:])
        # All rows active is the usual case and needs no masks: a graph of its own.
        self._all = compiled(lambda pcm, state: self._step(pcm, state, None))
        self._some = compiled(self._step)
        self._prime = compiled(self._initial_step)

    def init_state(self, batch: int, condition: mx.array | None = None) -> dict:
        """A fresh state, not yet primed. condition: (1 or batch, 1, dim)."""
        config = self.lm.config
        state = {
            "codec": self.mimi.encoder_state(batch),
            "lm": self.lm.init_state(batch),
            "text": mx.full((batch,), config.text_card, dtype=mx.int32),
        }
        if condition is not None:
            state["condition"] = mx.broadcast_to(condition, (batch, 1, config.dim)) * 1.0
        if self.delays.longest:
            state["history"] = self.delays.window(batch, config.card)
        return state

    def start(self, state: dict, rows: mx.array, condition: mx.array | None = None) -> dict:
        """Reset and prime `rows` (bool (batch,)) while the others keep their place.

        The reference drops the first frame, because the initial tokens stand in its place. One
        step of initial tokens beforehand lets every frame be used when it arrives.
        """
        fresh = self.init_state(rows.shape[0], condition)
        # What lies in the rings does not matter once the offset is 0; keep the big buffers.
        fresh["lm"]["rings"] = state["lm"]["rings"]
        fresh["codec"]["transformer"]["rings"] = state["codec"]["transformer"]["rings"]
        return self._prime(select_rows(rows, fresh, state), rows)

    def __call__(self, pcm: mx.array, state: dict, active: mx.array | None = None):
        """float32 pcm (batch, frame_size) -> (text int32 (batch,), pauses (batch, heads)), state.

        active: bool (batch,), rows that are False keep their place; None means all rows.
        """
        return self._all(pcm, state) if active is None else self._some(pcm, state, active)

    def _step(self, pcm, state, active):
        codes, codec = self.mimi.encode_step(pcm, state["codec"], active)
        return self._listen(codes[..., 0], {**state, "codec": codec}, active)

    def _initial_step(self, state, rows):
        config = self.lm.config
        codes = mx.full((rows.shape[0], config.n_q), config.card, mx.int32)
        return self._listen(codes, state, rows)[1]

    def _listen(self, codes, state, active):
        new = dict(state)
        if self.delays.longest:
            new["history"] = self.delays.push(state["history"], codes)
            codes = self.delays.line_up(new["history"])
        hidden, new["lm"] = self.lm(
            state["text"],
            codes,
            state["lm"],
            condition=state.get("condition"),
            active=active,
        )
        new["text"] = mx.argmax(self.lm.text_logits(hidden), axis=-1).astype(mx.int32)
        if active is not None:
            for key in ("text", "history"):
                if key in new:
                    new[key] = select_rows(active, new[key], state[key])
        if self.lm.config.extra_heads:
            pauses = self.lm.pause_probabilities(hidden)
        else:
            pauses = mx.zeros((hidden.shape[0], 0))
        return (new["text"], pauses), new
