"""What convolutions and codebooks are made of."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class Matrix(nn.Module):
    """x -> x @ weight.T + bias. Not an nn.Linear, which whoever quantises a model would replace.

    weight: (outputs, inputs), bias: (outputs,) or absent.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True):
        super().__init__()
        self.weight = mx.zeros((outputs, inputs))
        if bias:
            self.bias = mx.zeros((outputs,))

    def product(self, x: mx.array) -> mx.array:
        """x (..., inputs) -> (..., outputs)."""
        if "bias" in self:
            return mx.addmm(self.bias, x, self.weight.T)
        return x @ self.weight.T
