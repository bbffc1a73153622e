"""Attention on a CPU, half as long as torch's own.

torch 2.13 multiplies every query by every key, also where a mask hides most of them, and its
backward pass is slow in bfloat16.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

_BLOCK = 100  # queries
_HIDDEN = -1e30


class InBlocks(TorchFunctionMode):
    """A context in which `scaled_dot_product_attention` is `attend`, where it can be."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.scaled_dot_product_attention:
            function = attend
        return function(*args, **(kwargs or {}))


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
) -> torch.Tensor:
    """What torch's `scaled_dot_product_attention` gives, of keys that a block of queries can see.

    query (batch, heads, steps, width), key and value (batch, heads, keys, width), mask bool
    (batch or 1, 1, steps, keys), the same for the whole batch, or None to see all. Scores and
    sums are of the dtype given, the softmax float32. A query that sees nothing gets the mean of
    its block's values. ValueError for masks that differ, and for dropout.
    """
    if dropout_p:
        raise ValueError(f"dropout {dropout_p}: attention here has none")
    steps, keys, scale = query.shape[2], key.shape[2], query.shape[3] ** -0.5
    shape = query.shape
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    seen = torch.ones(steps, keys, dtype=torch.bool) if mask is None else _shared(mask)
    bias = torch.zeros(seen.shape).masked_fill(~seen, _HIDDEN)
    blocks = []
    for start in range(0, steps, _BLOCK):
        rows = slice(start, start + _BLOCK)
        some = seen[rows].any(0).nonzero()[:, 0]
        columns = slice(int(some[0]), int(some[-1]) + 1) if len(some) else slice(0, keys)
        scores = torch.bmm(query[:, rows], key[:, columns].mT)
        scores = torch.add(bias[rows, columns], scores, alpha=scale)
        told = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
        blocks.append(torch.bmm(told, value[:, columns]))
    return torch.cat(blocks, 1).view(shape)


def _shared(mask: torch.Tensor) -> torch.Tensor:
    """(steps, keys) of a mask that is the same for all."""
    if mask.shape[1] != 1 or not (mask == mask[:1]).all():
        raise ValueError("attention here needs one mask for all rows and heads")
    return mask[0, 0]
