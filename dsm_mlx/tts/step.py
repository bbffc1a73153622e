"""One frame of every row: the model hears what it said, samples a text token, then its sound.

Which text the model is given next, the script on the host decides; but it can say before, what
that will be if the model asks for a word and what if not. So nothing leaves the device between the
two halves of a step: the choice is made there.

Reference: `LMGen._step` in moshi/models/lm.py and the hooks of `TTSModel.generate` in tts.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx

from dsm_mlx.codec.model import MimiModel, keep_resting
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.depth import guide
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.lm.sampling import choose, gumbel, split
from dsm_mlx.lm.tokens import NEW_WORD, NOTHING, PADDING, UNGENERATED
from dsm_mlx.runtime.device import compiled
from dsm_mlx.transformer import Shared
from dsm_mlx.transformer.ring import count

TOP_K_TEXT, TOP_K_AUDIO = 25, 250


class TtsStep:
    """The compiled parts of a step, shared by all sessions of a model. It holds no state.

    A state is {"lm", "decoder", "row", "conditions"}. "row" is {"text" int32 (batch,), "audio"
    int32 (batch, codebooks), "history" of `DelayPattern.window`, "keys" uint32 (batch, 2)}.
    "conditions" stay the same in a session: {"temperature", "padding_bonus" float32 (batch,)}, and
    where the model or the session has them {"sum" (rows, 1, dim), "guidance" float32 (batch,),
    "null_until" int32 (batch,)}. With guidance, rows of the language model are twice the batch: for
    each session one with the conditions and one without. So are those of the decoder where the
    model writes two voices, which are heard together.

    Args:
        null_hears_text: with guidance, whether the rows without conditions are given the text.
    """

    def __init__(self, lm: MultistreamLM, mimi: MimiModel, null_hears_text: bool = False):
        self.lm, self.mimi = lm, mimi
        self.codebooks = lm.config.dep_q
        self.pattern = DelayPattern(lm.config.delays[1 : 1 + self.codebooks])
        self._voices, self._null_hears_text = lm.config.voices, null_hears_text
        self._delays = mx.array(lm.config.delays, mx.int32)
        # What does not change between steps is part of the compiled graph's key.
        self._compiled: dict = {}

    def init_state(self, conditions: dict, keys: mx.array) -> dict:
        """A fresh state of one session."""
        return {
            "lm": self.lm.init_state(1 + ("guidance" in conditions)),
            "decoder": self.mimi.decoder_state(self._voices),
            "row": {
                "text": mx.zeros((1,), mx.int32),
                "audio": mx.zeros((1, self.codebooks), mx.int32),
                "history": self.pattern.window(1, 0),
                "keys": keys,
            },
            "conditions": conditions,
        }

    def sample_text(
        self,
        state: dict,
        cross: Sequence[Shared] | None = None,
        active: mx.array | None = None,
        offered: mx.array | None = None,
        seen: int | None = None,
    ) -> tuple[dict, dict]:
        """The first half: -> sampled, state.

        `sampled` is {"text" int32 (batch,), what the model samples; "given" int32 (batch,), what
        it is given; "hidden" (rows, dim); "noise" float32 (batch, `DepthDecoder.noise_size`), times
        the temperature; "finite" bool (batch,), whether what they come from are numbers}.
        cross: which rows of the language model attend to which keys and values.
        active: bool (batch,), rows that are False keep their place; None means all rows.
        offered: int32 (batch, 2), what a row is given if it samples NEW_WORD, and what if not;
        None: what it samples.
        seen: as for `Transformer`.
        """
        shape = None if cross is None else tuple(tuple(rows) for rows, _ in cross)
        values = None if cross is None else [kv for _, kv in cross]

        def function(active, row, lm, conditions, values, offered):
            cross = None if shape is None else list(zip(shape, values, strict=True))
            return self._sample_text(active, row, lm, conditions, cross, offered, seen)

        parts = state["row"], state["lm"], state["conditions"], values, offered
        # Sessions of several voices come in too many combinations for a graph of each.
        usual = cross is None or len(cross) <= 1 + ("guidance" in state["conditions"])
        if usual:
            sampled, row, lm = self._run(("text", shape, seen), function, active, *parts)
        else:
            sampled, row, lm = function(active, *parts)
        return sampled, {**state, "row": row, "lm": lm}

    def sample_audio(
        self,
        state: dict,
        sampled: dict,
        text: mx.array,
        forced: mx.array,
        active: mx.array | None = None,
        *,
        depth: bool = True,
    ) -> tuple[mx.array, mx.array, dict]:
        """The second half: -> codes int32 (batch, codebooks, 1), finite bool (batch,), state.

        The codes are those of the frame that is now complete, as many steps ago as the longest
        delay. text: int32 (batch,), what the model is given. forced: int32 (batch, codebooks),
        codes that replace what the model says, UNGENERATED where there is none.
        depth: False where no row's own codes are needed; the depth decoder does not run.
        finite: whether what the step's own codes come from are numbers.
        """
        half = self._sample_audio if depth else self._skip_depth
        inputs = state["row"], sampled, text, forced, state["conditions"]
        codes, finite, row = self._run(("audio", depth), half, active, *inputs)
        return codes, finite, {**state, "row": row}

    def decode(
        self, codes: mx.array, state: dict, active: mx.array | None = None
    ) -> tuple[mx.array, dict]:
        """codes int32 (batch, codebooks, 1) -> float32 pcm (batch, frame_size), state."""
        pcm, decoder = self._run("decode", self._decode, active, codes, state["decoder"])
        return pcm, {**state, "decoder": decoder}

    def _run(self, key, function, active: mx.array | None, *inputs):
        """All rows active is the usual case and needs no masks: a graph of its own."""
        key = key, active is None
        if key not in self._compiled:
            if active is None:
                self._compiled[key] = compiled(lambda *inputs: function(None, *inputs))
            else:
                self._compiled[key] = compiled(function)
        if active is None:
            return self._compiled[key](*inputs)
        return self._compiled[key](active, *inputs)

    def _sample_text(self, active, row, lm, conditions, cross, offered, seen):
        guidance = conditions.get("guidance")
        step = lm["offset"] if guidance is None else lm["offset"][0::2]
        tokens, begins = self._inputs(row, step)
        rows = active
        if guidance is not None:
            null = self._null(tokens, begins, step, conditions["null_until"])
            tokens = mx.stack([tokens, null], axis=1).reshape(-1, tokens.shape[1])
            rows = active if active is None else mx.repeat(active, 2)
        hidden, lm = self.lm(
            tokens[:, 0],
            tokens[:, 1:],
            lm,
            condition=conditions.get("sum"),
            cross=cross,
            active=rows,
            seen=seen,
        )
        logits = self.lm.text_logits(hidden)
        if guidance is not None and not self._null_hears_text:
            logits = logits[0::2]
        else:
            logits = guide(logits, guidance)
        is_pad = count(logits.shape[-1]) == PADDING
        logits = logits + is_pad * conditions["padding_bonus"][:, None]
        keys, card = split(row["keys"], 2), logits.shape[-1]
        noise = gumbel(keys[:, 0], card + self.lm.depformer.noise_size)  # of all that is drawn
        noise = noise * conditions["temperature"][:, None]
        text = choose(logits, noise[:, :card], TOP_K_TEXT).astype(mx.int32)
        finite = mx.isfinite(hidden).reshape(text.shape[0], -1).all(axis=-1)
        finite = finite & mx.isfinite(logits).all(axis=-1)
        given = text
        if offered is not None:
            given = mx.where(text == NEW_WORD, offered[:, 0], offered[:, 1])
        new = {**row, "keys": keys[:, 1]}
        sampled = {"text": text, "given": given, "hidden": hidden, "noise": noise[:, card:]}
        return sampled | {"finite": finite}, keep_resting(active, new, row), lm

    def _inputs(self, row, step):
        """What enters the model: int32 (batch, 1 + n_q), and where it is an initial token."""
        config = self.lm.config
        batch = step.shape[0]
        begins = step[:, None] <= self._delays
        parts = [row["text"][:, None], row["audio"]]
        if config.n_q > self.codebooks:
            parts.append(mx.full((batch, config.n_q - self.codebooks), NOTHING, mx.int32))
        tokens = mx.concatenate(parts, axis=1)
        initial = mx.array([config.text_card] + [config.card] * config.n_q, mx.int32)
        return mx.where(begins, initial, tokens), begins

    def _null(self, tokens, begins, step, until):
        """The same for the rows without conditions: no voice prefix and, mostly, no text."""
        hidden = (step[:, None] <= self._delays + until[:, None]) & ~begins
        if not self._null_hears_text:
            is_text = mx.arange(tokens.shape[1]) == 0
            hidden = hidden | (is_text & ~begins)
        return mx.where(hidden, NOTHING, tokens)

    def _sample_audio(self, active, row, sampled, text, forced, conditions):
        depth = self.lm.depformer
        codes, finite = depth(
            text,
            sampled["hidden"],
            sampled["noise"],
            top_k=TOP_K_AUDIO,
            guidance=conditions.get("guidance"),
        )
        codes, row = self._advance(active, row, text, codes, forced)
        return codes, finite, row

    def _skip_depth(self, active, row, sampled, text, forced, conditions):
        codes = mx.full(forced.shape, NOTHING, mx.int32)
        codes, row = self._advance(active, row, text, codes, forced)
        return codes, sampled["finite"], row

    def _advance(self, active, row, text, codes, forced):
        codes = mx.where(forced == UNGENERATED, codes, forced)
        history = self.pattern.push(row["history"], codes)
        frame = self.pattern.undo(history)
        new = {**row, "text": text, "audio": codes, "history": history}
        return frame[..., None], keep_resting(active, new, row)

    def _decode(self, active, codes, decoder):
        codes = mx.maximum(codes, 0)
        if self._voices == 1:
            return self.mimi.decode_step(codes, decoder, active)
        batch, used = codes.shape[0], self.lm.config.codebooks
        each = codes.reshape(batch * self._voices, -1, codes.shape[-1])[:, :used]
        rows = active if active is None else mx.repeat(active, self._voices)
        pcm, decoder = self.mimi.decode_step(each, decoder, rows)
        return pcm.reshape(batch, self._voices, -1).sum(axis=1), decoder
