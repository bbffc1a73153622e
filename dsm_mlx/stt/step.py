"""One frame of every row: sound in, the next text token and the pause probabilities out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from operator import mul
from typing import NamedTuple

import mlx.core as mx
import numpy as np

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.lm.sampling import Steer, gumbel, row_keys, sample, split, steered
from dsm_mlx.runtime.device import compiled
from dsm_mlx.stt.steering import Wish
from dsm_mlx.transformer import select_rows
from dsm_mlx.transformer.ring import lengthened, shortened

TOP_K = 25  # of the reference's text sampling


class SttOutput(NamedTuple):
    """What a step says of each row.

    text: int32 (batch,). probability: float32 (batch,), of that token, by the model alone, whatever
    it was steered to. pauses: float32 (batch, heads). finite: bool (batch,), whether these and what
    they were computed from are numbers.
    """

    text: mx.array
    probability: mx.array
    pauses: mx.array
    finite: mx.array


def steer_of(wishes: Sequence[Wish | None]) -> Steer | None:
    """The wishes of all rows as arrays; None if there are none. Few sizes, because each is a graph
    of its own."""
    most = max((len(wish.ids) for wish in wishes if wish), default=0)
    if not most:
        return None
    size = next(size for size in itertools.accumulate(itertools.repeat(4), mul) if size >= most)
    ids = np.zeros((len(wishes), size), np.int32)
    values = np.zeros(ids.shape, np.float32)
    for row, wish in enumerate(wishes):
        if wish:
            # What is left over says the first one again.
            ids[row], values[row] = wish.ids[0], wish.values[0]
            ids[row, : len(wish.ids)], values[row, : len(wish.ids)] = wish.ids, wish.values
    only = [wish is not None and wish.only for wish in wishes]
    sure = [wish.sure if wish else math.inf for wish in wishes]
    return Steer(mx.array(ids), mx.array(values), mx.array(only), mx.array(sure))


class SttStep:
    """The compiled step of a model, shared by all its sessions. It holds no state.

    A state is {"codec", "lm", "text" int32 (batch,), "temperature" float32 (batch,), "keys" uint32
    (batch, 2), "condition" (batch, 1, dim) or absent, "history" of `DelayPattern.window` or
    absent}.
    """

    def __init__(self, lm: MultistreamLM, mimi: MimiModel):
        self.lm, self.mimi = lm, mimi
        self.delays = DelayPattern(lm.config.delays[1:])
        self._compiled: dict = {}

    def init_state(
        self, condition: mx.array | None = None, temperature: float = 0.0, seed: int = 0
    ) -> dict:
        """The state of one row, before the step of initial tokens; see `beginning`."""
        config = self.lm.config
        state = {
            "codec": self.mimi.encoder_state(1),
            "lm": self.lm.init_state(1),
            "text": mx.full((1,), config.text_card, dtype=mx.int32),
            "temperature": mx.array([temperature], mx.float32),
            "keys": row_keys([seed]),
        }
        if condition is not None:
            state["condition"] = condition
        if self.delays.longest:
            state["history"] = self.delays.window(1, config.card)
        return state

    def beginning(
        self,
        condition: mx.array | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        steer: Steer | None = None,
    ) -> dict:
        """The state of one row that has heard nothing. Evaluated.

        The reference drops the first frame, because the initial tokens stand in its place. One
        step of initial tokens beforehand lets every frame be used when it arrives.

        condition: (1, 1, dim). seed: of the sampling, where the temperature is above 0. steer: of
        that step's token.
        """
        config = self.lm.config
        state = self.init_state(condition, temperature, seed)
        codes = mx.full((1, config.n_q), config.card, mx.int32)
        latent = mx.zeros((1, 1, 1))
        _, state = self._listen(codes, latent, state, None, temperature > 0, steer=steer)
        mx.eval(state)
        return state

    def shortened(self, state: dict, steps: int = 1) -> dict:
        """The state of one row that has seen so many steps, without the slots that nothing has been
        written into: after `beginning`, nearly all of its memory."""
        lm = state["lm"]
        rings = [shortened(ring, steps) for ring in lm["rings"]]
        mx.eval(rings)
        return {**state, "lm": {**lm, "rings": rings}}

    def lengthened(self, state: dict) -> dict:
        """The state that was shortened. Lazy."""
        lm, slots = state["lm"], self.lm.config.transformer.context
        return {**state, "lm": {**lm, "rings": [lengthened(r, slots) for r in lm["rings"]]}}

    def __call__(
        self,
        pcm: mx.array,
        state: dict,
        active: mx.array | None = None,
        sampled: bool = False,
        seen: int | None = None,
        steer: Steer | None = None,
    ) -> tuple[SttOutput, dict]:
        """float32 pcm (batch, frame_size) -> output, state.

        active: bool (batch,), rows that are False keep their place; None means all rows.
        sampled: whether any row has a temperature above 0. Rows at 0 give the same either way.
        seen: as for `Transformer`.
        steer: what is wished of the tokens; None where nothing is of any row.
        """
        # What does not change between steps is part of the compiled graph's key. All rows active
        # and none steered is the usual case, and needs neither masks nor wishes.
        masked, wished = active is not None, steer is not None
        key = sampled, seen, masked, wished
        if key not in self._compiled:

            def step(pcm, state, *given):
                mask = given[0] if masked else None
                wishes = Steer(*given[-1]) if wished else None
                return self._step(pcm, state, mask, sampled, seen, wishes)

            self._compiled[key] = compiled(step)
        given = [inputs for inputs in (active, steer) if inputs is not None]
        output, state = self._compiled[key](pcm, state, *given)
        return SttOutput(*output), state

    def _step(self, pcm, state, active, sampled, seen, steer):
        latent, codec = self.mimi.latent_step(pcm, state["codec"], active)
        codes, state = self.mimi.quantizer.encode(latent)[..., 0], {**state, "codec": codec}
        return self._listen(codes, latent, state, active, sampled, seen, steer)

    def _listen(self, codes, latent, state, active, sampled, seen=None, steer=None):
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
            seen=seen,
        )
        logits = self.lm.text_logits(hidden)
        wished = logits if steer is None else steered(logits, steer)
        if sampled:
            keys = split(state["keys"], 2)
            noise = gumbel(keys[:, 0], logits.shape[-1])
            new["text"] = sample(wished, state["temperature"], noise, TOP_K)
            new["keys"] = keys[:, 1]
        else:
            new["text"] = mx.argmax(wished, axis=-1).astype(mx.int32)
        chosen = mx.take_along_axis(logits, new["text"][:, None], axis=-1)[:, 0]
        probability = mx.exp(chosen - mx.logsumexp(logits, axis=-1))
        if self.lm.config.extra_heads:
            pauses = self.lm.pause_probabilities(hidden)
        else:
            pauses = mx.zeros((hidden.shape[0], 0))
        finite = mx.isfinite(hidden).all(axis=-1) & mx.isfinite(latent).all(axis=(1, 2))
        finite = finite & mx.isfinite(probability) & mx.isfinite(pauses).all(axis=-1)
        output = new["text"], probability, pauses, finite
        if active is not None:
            for key in ("text", "history", "keys"):
                if key in new:
                    new[key] = select_rows(active, new[key], state[key])
        return output, new
