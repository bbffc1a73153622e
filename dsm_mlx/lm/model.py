"""The multistream model: a frame of tokens in, the next text token's logits out.

Reference: `LMModel` and `LMGen` in moshi/models/lm.py. The input of a step is the sum of the
embeddings of the last text token and of each audio stream's code.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.lm.conditioning import ConditionProvider
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.depth import DepthDecoder
from dsm_mlx.lm.embedding import (
    AudioEmbedding,
    DemuxEmbedding,
    TokenEmbedding,
    added,
    audio_rows,
    keep_rows,
)
from dsm_mlx.runtime.device import compiles
from dsm_mlx.transformer import Shared, Transformer
from dsm_mlx.transformer.block import make_norm
from dsm_mlx.transformer.ring import reach


class MultistreamLM(nn.Module):
    """Weights only; whoever runs it holds the transformer's state.

    cache: how that state keeps keys and values: the name of a dtype, "q8", or None for the dtype
    of the activations.
    """

    def __init__(self, config: LmConfig):
        super().__init__()
        self.config = config
        self.cache: str | None = None
        rows = config.text_card + 1
        if config.demux_second_stream:
            text_emb: nn.Module = DemuxEmbedding(rows, config.dim, config.dim)
        else:
            text_emb = TokenEmbedding(rows, config.dim)
        self.text_emb = text_emb
        self.audio_emb = AudioEmbedding(config.n_q, config.card, config.dim)
        self.transformer = Transformer(config.transformer)
        self.out_norm = make_norm(config.transformer.norm, config.dim)
        self.text_linear = nn.Linear(config.dim, config.text_card_out, bias=False)
        if config.extra_heads:
            outputs = config.extra_heads * config.extra_heads_dim
            self.extra_heads = nn.Linear(config.dim, outputs, bias=False)
        if config.depth:
            self.depformer = DepthDecoder(config, config.depth)
        if config.conditioners.by_name:
            self.condition_provider = ConditionProvider(config.conditioners, config.dim)

    def keep_codebooks(self, codebooks: int) -> None:
        """Write, or where it only hears, hear only the first `codebooks` codebooks; the weights of
        the others are dropped.

        One that writes keeps its embeddings of all of them, as the reference does: it still hears
        their initial tokens, then nothing. To one that hears, the others say nothing from the first
        step on, as if they were token -1. One that writes two sounds goes on to write all of both,
        as the last ones of each do not lie at the end; what they write is not heard.
        """
        most = self.config.dep_q or self.config.n_q
        if not 1 <= codebooks <= most:
            raise ValueError(f"codebooks is {codebooks} (expected 1 to {most})")
        depth = self.config.depth
        if depth is None:
            delays = self.config.delays[: 1 + codebooks]
            self.config = replace(self.config, n_q=codebooks, delays=delays)
            keep_rows(self.audio_emb, codebooks * (self.config.card + 1))
            return
        if self.config.voices > 1:
            self._silence(codebooks)
            return
        depth = replace(depth, schedule=depth.schedule[:codebooks])
        self.config = replace(self.config, dep_q=codebooks, depth=depth)
        self.depformer.keep_codebooks(depth)

    def _silence(self, codebooks: int) -> None:
        """Of each voice, all but its part of the first `codebooks` embed to zero."""
        voices, card, n_q = self.config.voices, self.config.card, self.config.n_q
        used, rest = divmod(codebooks, voices)
        if rest:
            raise ValueError(f"codebooks is {codebooks} (expected a multiple of {voices})")
        silent = [k for k in range(n_q) if k % (n_q // voices) >= used]
        self.config = replace(self.config, used=used)
        heard = mx.repeat(mx.array([k not in silent for k in range(n_q)]), card + 1)[:, None]
        for embedding in (self.audio_emb, *(self.depformer.embs[k] for k in silent if k < n_q - 1)):
            table = getattr(embedding, "table", embedding)  # of one of low rank
            for name in ("weight", "scales", "biases"):
                if name in table:
                    shown = heard if embedding is self.audio_emb else mx.array(False)
                    table[name] = mx.where(shown, table[name], mx.array(0, table[name].dtype))

    def prepare(self) -> Iterator[None]:
        """Give the weights, which must be there by now, the form in which a step reads them; piece
        by piece. Tables of a depth decoder's codes pay by their kernels alone: they cost memory.
        """
        if self.config.depth and compiles():
            yield from self.depformer.prepare(self.dtype)

    @property
    def dtype(self) -> mx.Dtype:
        """The dtype of activations."""
        return self.out_norm.weight.dtype

    def seen(self, positions: int) -> int | None:
        """What a step is told when no row will have more than so many positions."""
        return reach(positions, self.config.transformer.context)

    def init_state(self, batch: int) -> dict:
        """A fresh state of the transformer."""
        bits = 8 if self.cache == "q8" else None
        return self.transformer.init_state(batch, dtype=self._cache_dtype, bits=bits)

    def keys_values(self, condition: mx.array) -> Iterator[dict]:
        """Keys and values of one layer after another, of a condition (batch, length, dim).

        Each is evaluated before the next, so that never all are there in full width.
        """
        condition = condition.astype(self.dtype)
        for layer in self.transformer.layers:
            both = layer.cross_attention.keys_values(condition)
            kept = {name: array.astype(self._cache_dtype) for name, array in both.items()}
            mx.eval(kept)
            yield kept

    @property
    def _cache_dtype(self) -> mx.Dtype:
        return self.dtype if self.cache in (None, "q8") else getattr(mx, self.cache)

    def __call__(
        self,
        text: mx.array,
        audio: mx.array,
        state: dict,
        *,
        condition: mx.array | None = None,
        cross: Sequence[Shared] | None = None,
        active: mx.array | None = None,
        seen: int | None = None,
    ) -> tuple[mx.array, dict]:
        """One step of every row.

        text: int32 (batch,) last text token. audio: int32 (batch, n_q) codes. -1 embeds to 0.
        state: from `init_state`. condition: (batch or 1, 1, dim), added to the input.
        cross: who attends to what; the second part of each comes from `keys_values`.
        active: bool (batch,), rows that are False keep their place.
        seen: as for `Transformer`.
        Returns the normed hidden state (batch, dim) and the new state.
        """
        codes = self.audio_emb(audio_rows(audio, self.config.card)).astype(self.dtype)
        x = added(codes.sum(axis=1), self.text_emb, text)[:, None]
        if condition is not None:
            x = x + condition.astype(x.dtype)
        x, state = self.transformer(x, state, active, cross, seen)
        return self.out_norm(x)[:, 0], state

    def text_logits(self, hidden: mx.array) -> mx.array:
        """hidden (batch, dim) -> float32 (batch, text_card_out)."""
        return self.text_linear(hidden).astype(mx.float32)

    def pause_probabilities(self, hidden: mx.array) -> mx.array:
        """hidden (batch, dim) -> float32 (batch, heads), the probability of a pause of each length.

        The softmax over each head's outputs; output 0 says that nobody speaks.
        """
        outputs = self.extra_heads(hidden).astype(mx.float32)
        shape = (hidden.shape[0], self.config.extra_heads, self.config.extra_heads_dim)
        return mx.softmax(outputs.reshape(shape), axis=-1)[..., 0]
