"""Attention, the ring KV cache and blocks: shared by the codec and the language model."""

from dsm_mlx.transformer.attention import Attention, CrossAttention
from dsm_mlx.transformer.block import (
    Block,
    LayerScale,
    Shared,
    SwiGLU,
    Transformer,
    TransformerConfig,
)
from dsm_mlx.transformer.ring import Window, select_rows

__all__ = [
    "Attention",
    "Block",
    "CrossAttention",
    "LayerScale",
    "Shared",
    "SwiGLU",
    "Transformer",
    "TransformerConfig",
    "Window",
    "select_rows",
]
