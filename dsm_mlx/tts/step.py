"""One frame of every row: the model listens to what it said, says a text token, then its sound.

Between the two halves of a step the script decides, on the host, which text the model is given;
that is the one time in a frame that anything leaves the device.

Reference: `LMGen._step` in moshi/models/lm.py and the hooks of `TTSModel.generate` in tts.py.
"""

from __future__ import annotations

import mlx.core as mx

from dsm_mlx.codec.model import MimiModel, keep_resting
from dsm_mlx.lm.delays import DelayPattern
from dsm_mlx.lm.depth import guide
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.lm.sampling import gumbel, sample, split
from dsm_mlx.lm.tokens import NOTHING, PADDING, UNGENERATED
from dsm_mlx.runtime.device import compiled

TOP_K_TEXT, TOP_K_AUDIO = 25, 250


class TtsStep:
    """The compiled halves of a step, shared by all sessions of a model. It holds no state.

    A state is {"lm", "decoder", "row"}, where "row" is {"step" int32 (batch,), "text" int32
    (batch,), "audio" int32 (batch, codebooks), "history" of `DelayPattern.window`,
    "keys" uint32 (batch, 2)}.

    Conditions are arrays that stay the same in a session: {"temperature", "padding_bonus"
    float32 (batch,)}, and where the model or the session has them {"sum" (rows, 1, dim), "cross"
    keys and values of every layer, "guidance" float32 (batch,), "null_until" int32 (batch,)}.
    With guidance, rows are twice the batch: first with the conditions, then without.

    Args:
        delay_steps: frames by which the sound lags the text.
        null_hears_text: with guidance, whether the rows without conditions are given the text.
    """

    def __init__(
        self, lm: MultistreamLM, mimi: MimiModel, delay_steps: int, null_hears_text: bool = False
    ):
        self.lm, self.mimi, self.delay_steps = lm, mimi, delay_steps
        self.codebooks = lm.config.dep_q
        self._null_hears_text = null_hears_text
        self.pattern = DelayPattern(lm.config.delays[1 : 1 + self.codebooks])
        self._delays = mx.array(lm.config.delays, mx.int32)
        # What does not change between steps is part of the compiled graph's key.
        self._compiled: dict = {}

    def init_state(self, batch: int, guided: bool) -> dict:
        """A fresh state, with keys of 0."""
        return {
            "lm": self.lm.init_state(batch * (1 + guided)),
            "decoder": self.mimi.decoder_state(batch),
            "row": {
                "step": mx.zeros((batch,), mx.int32),
                "text": mx.zeros((batch,), mx.int32),
                "audio": mx.zeros((batch, self.codebooks), mx.int32),
                "history": self.pattern.window(batch, 0),
                "keys": mx.zeros((batch, 2), mx.uint32),
            },
        }

    def sample_text(self, row: dict, lm: dict, conditions: dict, active: mx.array | None = None):
        """The first half: -> sampled, row, lm.

        `sampled` is {"text" int32 (batch,), what the model samples; "hidden" (rows, dim); "keys"}.
        active: bool (batch,), rows that are False keep their place; None means all rows.
        """
        return self._run("sample_text", self._sample_text, active, row, lm, conditions)

    def sample_audio(
        self,
        row: dict,
        sampled: dict,
        text: mx.array,
        forced: mx.array,
        conditions: dict,
        active: mx.array | None = None,
        *,
        depth: bool = True,
    ):
        """The second half: -> codes int32 (batch, codebooks, 1), row.

        The codes are those of the frame that is now complete, `longest` frames ago.
        text: int32 (batch,), what the model is given. forced: int32 (batch, codebooks), codes
        that replace what the model says, UNGENERATED where there is none.
        depth: False where no row's own codes are needed; the depth decoder does not run.
        """
        name = "sample_audio" if depth else "skip_depth"
        half = self._sample_audio if depth else self._skip_depth
        return self._run(name, half, active, row, sampled, text, forced, conditions)

    def decode(self, codes: mx.array, decoder: dict, active: mx.array | None = None):
        """codes int32 (batch, codebooks, 1) -> float32 pcm (batch, frame_size), decoder."""
        return self._run("decode", self._decode, active, codes, decoder)

    def _run(self, name: str, function, active: mx.array | None, *inputs):
        """All rows active is the usual case and needs no masks: a graph of its own."""
        key = (name, active is None)
        if key not in self._compiled:
            if active is None:
                self._compiled[key] = compiled(lambda *inputs: function(None, *inputs))
            else:
                self._compiled[key] = compiled(function)
        if active is None:
            return self._compiled[key](*inputs)
        return self._compiled[key](active, *inputs)

    def _sample_text(self, active, row, lm, conditions):
        guidance = conditions.get("guidance")
        tokens, begins = self._inputs(row)
        rows = active
        if guidance is not None:
            null = self._null(tokens, begins, row["step"], conditions["null_until"])
            tokens = mx.concatenate([tokens, null])
            rows = active if active is None else mx.concatenate([active, active])
        hidden, lm = self.lm(
            tokens[:, 0],
            tokens[:, 1:],
            lm,
            condition=conditions.get("sum"),
            cross=conditions.get("cross"),
            active=rows,
        )
        logits = self.lm.text_logits(hidden)
        if guidance is not None and not self._null_hears_text:
            logits = mx.split(logits, 2)[0]
        else:
            logits = guide(logits, guidance)
        is_pad = mx.arange(logits.shape[-1]) == PADDING
        logits = logits + is_pad * conditions["padding_bonus"][:, None]
        keys = split(row["keys"], 3)
        noise = gumbel(keys[:, 0], logits.shape[-1])
        text = sample(logits, conditions["temperature"], noise, TOP_K_TEXT)
        new = {**row, "keys": keys[:, 2]}
        return (
            {"text": text, "hidden": hidden, "keys": keys[:, 1]},
            keep_resting(active, new, row),
            lm,
        )

    def _inputs(self, row):
        """What enters the model: int32 (batch, 1 + n_q), and where it is an initial token."""
        config = self.lm.config
        batch = row["step"].shape[0]
        begins = row["step"][:, None] <= self._delays
        unused = mx.full((batch, config.n_q - self.codebooks), NOTHING, mx.int32)
        tokens = mx.concatenate([row["text"][:, None], row["audio"], unused], axis=1)
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
        codes = depth(
            text,
            sampled["hidden"],
            conditions["temperature"],
            gumbel(sampled["keys"], depth.noise_size),
            top_k=TOP_K_AUDIO,
            guidance=conditions.get("guidance"),
        )
        # Each codebook's sound begins so many steps after its text.
        starts = self._delays[1 : 1 + self.codebooks] + self.delay_steps
        codes = mx.where(row["step"][:, None] < starts, NOTHING, codes)
        return self._advance(active, row, text, codes, forced)

    def _skip_depth(self, active, row, sampled, text, forced, conditions):
        return self._advance(active, row, text, mx.full(forced.shape, NOTHING, mx.int32), forced)

    def _advance(self, active, row, text, codes, forced):
        codes = mx.where(forced == UNGENERATED, codes, forced)
        history = self.pattern.push(row["history"], codes)
        frame = self.pattern.undo(history)
        new = {**row, "step": row["step"] + 1, "text": text, "audio": codes, "history": history}
        return frame[..., None], keep_resting(active, new, row)

    def _decode(self, active, codes, decoder):
        return self.mimi.decode_step(mx.maximum(codes, 0), decoder, active)
