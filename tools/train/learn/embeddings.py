"""Where the audio embeddings of a language model start from."""

from __future__ import annotations

import math

import torch
from torch import nn


def embed_as_codec(model: nn.Module, codec: nn.Module) -> None:
    """Start from audio embeddings that sum to the codec's latent: it learns much sooner."""
    with torch.no_grad():
        tables = []
        for quantizer in (codec.quantizer.rvq_first, codec.quantizer.rvq_rest):
            projection = quantizer.output_proj.weight[:, :, 0].T
            tables += [layer.embedding @ projection for layer in quantizer.vq.layers]
        tables = [table - table.mean(0) for table in tables]
        scale = sum((table**2).mean() for table in tables).sqrt()
        width = tables[0].shape[1]
        turn = nn.init.orthogonal_(torch.empty(width, model.dim)) * math.sqrt(model.dim / width)
        for embedding, table in zip(model.emb, tables, strict=True):
            embedding.weight[: len(table)] = table / scale @ turn.to(table)
