"""Transformer blocks, as weights only: the state goes in and comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.runtime.device import compiles
from dsm_mlx.transformer.attention import Attention, CrossAttention, Group, plus
from dsm_mlx.transformer.ring import Cache, Window, empty, size


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a transformer.

    norm: "rms_norm_f32" (eps 1e-8), "rms_norm" (1e-5) or "layer_norm" (1e-5, with bias).
    hidden: inner width of the feed-forward; with `gated` that of each half of SwiGLU.
    max_period: of the rotary embedding; None means no positions at all.
    kv_repeat: how many heads of queries share one of keys and values.
    """

    dim: int
    heads: int
    layers: int
    hidden: int
    context: int
    norm: str = "rms_norm_f32"
    gated: bool = True
    max_period: float | None = 10000.0
    layer_scale: bool = False
    cross_attention: bool = False
    kv_repeat: int = 1


def make_norm(kind: str, dim: int) -> nn.Module:
    """The norm that the config names (reference: create_norm_fn)."""
    if kind == "layer_norm":
        return nn.LayerNorm(dim, eps=1e-5)
    return nn.RMSNorm(dim, eps=1e-8 if kind == "rms_norm_f32" else 1e-5)


class LayerScale(nn.Module):
    """A learnt scale for each channel of a residual branch; see `Block.fold_scales`."""

    def __init__(self, dim: int):
        super().__init__()
        self.scale = mx.ones((dim,))

    def fold_into(self, linear: nn.Module) -> None:
        """Have `linear` scale its outputs."""
        quantized = isinstance(linear, nn.QuantizedLinear)
        for name in ("scales", "biases") if quantized else ("weight",):
            linear[name] = linear[name].astype(mx.float32) * self.scale[:, None]


class SwiGLU(nn.Module):
    """`silu(first half) * second half` (reference: ActivationGating)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.linear_in = nn.Linear(dim, 2 * hidden, bias=False)
        self.linear_out = nn.Linear(hidden, dim, bias=False)

    def __call__(self, x: mx.array, y: mx.array) -> mx.array:
        """x + what becomes of y."""
        gate, value = mx.split(self.linear_in(y), 2, axis=-1)
        return plus(x, self.linear_out, gate * mx.sigmoid(gate) * value)


class Block(nn.Module):
    """Pre-norm self-attention, optional cross-attention, feed-forward."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        dim = config.dim
        self.norm1 = make_norm(config.norm, dim)
        self.self_attn = Attention(dim, config.heads, config.max_period, config.kv_repeat)
        if config.cross_attention:
            self.norm_cross = nn.LayerNorm(dim, eps=1e-5)
            self.cross_attention = CrossAttention(dim, config.heads)
        self.norm2 = make_norm(config.norm, dim)
        if config.gated:
            self.gating = SwiGLU(dim, config.hidden)
        else:
            self.linear1 = nn.Linear(dim, config.hidden, bias=False)
            self.linear2 = nn.Linear(config.hidden, dim, bias=False)
        if config.layer_scale:
            self.layer_scale_1 = LayerScale(dim)
            self.layer_scale_2 = LayerScale(dim)

    def fold_scales(self) -> None:
        """Put the scales of the residual branches into the last weights of each."""
        if "layer_scale_1" not in self:
            return
        last = self.gating.linear_out if "gating" in self else self.linear2
        for scale, linear in (
            (self.layer_scale_1, self.self_attn.out_proj),
            (self.layer_scale_2, last),
        ):
            scale.fold_into(linear)
        del self.layer_scale_1, self.layer_scale_2

    def feed_forward(self, x: mx.array, y: mx.array) -> mx.array:
        """x + what becomes of y."""
        if "gating" in self:
            return self.gating(x, y)
        y = self.linear1(y)
        return plus(x, self.linear2, y * (0.5 + 0.5 * mx.erf(y * 2**-0.5)))  # exact GELU

    def __call__(self, x, ring: Cache, window: Window, cross: list[Group] | None = None):
        """x (batch, steps, dim) -> the same shape, ring. Scales must be folded."""
        x, ring = self.self_attn(x, self.norm1(x), ring, window)
        if cross is not None:
            x = self.cross_attention(x, self.norm_cross(x), cross)
        return self.feed_forward(x, self.norm2(x)), ring


Shared = tuple[Sequence[int], list[dict]]
"""Rows that attend to the same condition, and what `CrossAttention.keys_values` gave for it, of
every layer."""


class Transformer(nn.Module):
    """A stack of blocks over one ring cache per layer."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        self.layers = [Block(config) for _ in range(config.layers)]

    def fold_scales(self) -> None:
        """See `Block.fold_scales`."""
        for layer in self.layers:
            layer.fold_scales()

    def init_state(
        self,
        batch: int,
        *,
        steps: int = 1,
        dtype: mx.Dtype = mx.float32,
        bits: int | None = None,
    ) -> dict:
        """A fresh state: `offset` int32 (batch,), `rings` one a layer.

        steps: the most positions that one call will bring. dtype: of the caches. bits: 8 keeps
        them in 8 bits, with scales of `dtype`.
        """
        c = self.config
        kv_heads = c.heads // c.kv_repeat
        shape = (batch, kv_heads, 2, c.context + steps - 1, c.dim // c.heads)
        rings = [empty(shape, dtype, bits) for _ in self.layers]
        return {"offset": mx.zeros((batch,), mx.int32), "rings": rings}

    def __call__(
        self,
        x: mx.array,
        state: dict,
        active: mx.array | None = None,
        cross: Sequence[Shared] | None = None,
        seen: int | None = None,
    ) -> tuple[mx.array, dict]:
        """One step. x (batch, steps, dim) -> (batch, steps, dim), new state.

        active: bool (batch,); a row that is False keeps its place. None means all rows.
        cross: who attends to what, see `Shared`.
        seen: how many slots of the ring an active row can have filled by the end of the step, see
        `ring.reach`; None: all.
        """
        steps = x.shape[1]
        ring = size(state["rings"][0])
        context, repeat = self.config.context, self.config.kv_repeat
        window = Window.of(state["offset"], steps, context, ring, seen, repeat)
        if len(x) > 1 and compiles():
            # Metal's attention reads a mask of several rows only if it has one for each head, and
            # would make that anew in every layer.
            mask = mx.repeat(window.mask, self.config.heads, axis=1)
            window = window._replace(mask=mask)
        rings = []
        for i, (layer, old) in enumerate(zip(self.layers, state["rings"], strict=True)):
            groups = None if cross is None else [(rows, kv[i]) for rows, kv in cross]
            x, new = layer(x, old, window, groups)
            rings.append(new)
        advance = steps if active is None else steps * active.astype(mx.int32)
        return x, {"offset": state["offset"] + advance, "rings": rings}
