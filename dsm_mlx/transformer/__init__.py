"""Attention, the ring KV cache and blocks: shared by the codec and the language model."""

from dsm_mlx.transformer.block import Shared, Transformer, TransformerConfig
from dsm_mlx.transformer.ring import select_rows

__all__ = ["Shared", "Transformer", "TransformerConfig", "select_rows"]
