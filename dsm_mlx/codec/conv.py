"""Causal convolutions that stream: the state is the input that the next call still needs."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn


class CausalConv1d(nn.Module):
    """A convolution that sees only the past (reference: StreamingConv1d).

    weight: (out, kernel, in). The state is the last `(kernel - 1) * dilation + 1 - stride`
    inputs, zeros at the start.
    """

    def __init__(self, inputs, outputs, kernel, *, stride=1, dilation=1, bias=True):
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.padding = (kernel - 1) * dilation + 1 - stride
        self.weight = mx.zeros((outputs, kernel, inputs))
        if bias:
            self.bias = mx.zeros((outputs,))

    def init_state(self, batch: int) -> mx.array:
        return mx.zeros((batch, self.padding, self.weight.shape[2]))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, in), whole strides -> (batch, length / stride, out)."""
        x = mx.concatenate([past.astype(x.dtype), x], axis=1) if self.padding else x
        y = mx.conv1d(x, self.weight, stride=self.stride, dilation=self.dilation)
        if "bias" in self:
            y = y + self.bias
        return y, x[:, x.shape[1] - self.padding :]


class CausalConvTranspose1d(nn.Module):
    """A transposed convolution with kernel 2 x stride (reference: StreamingConvTranspose1d).

    Each output group of `stride` samples depends on two inputs only, so it is an ordinary
    convolution of kernel 2 with `stride * out` channels: one matrix product, the bias added once.
    weight: (stride * out, 2, in), tap 0 for the earlier input.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.outputs, self.stride = outputs, stride
        self.weight = mx.zeros((stride * outputs, 2, inputs))
        self.bias = mx.zeros((outputs,))

    def init_state(self, batch: int) -> mx.array:
        return mx.zeros((batch, 1, self.weight.shape[2]))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, in) -> (batch, length * stride, out)."""
        batch, length, _ = x.shape
        x = mx.concatenate([past.astype(x.dtype), x], axis=1)
        y = mx.conv1d(x, self.weight).reshape(batch, length * self.stride, self.outputs)
        return y + self.bias, x[:, -1:]


class DepthwiseUpsample(nn.Module):
    """The depthwise transposed convolution from 12.5 to 25 Hz; kernel 2 x stride, no bias.

    weight: (2, stride, channels), tap 0 for the current input.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.weight = mx.zeros((2, stride, channels))

    def init_state(self, batch: int) -> mx.array:
        return mx.zeros((batch, 1, self.weight.shape[2]))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, channels) -> (batch, length * stride, channels)."""
        batch, _, channels = x.shape
        earlier = mx.concatenate([past.astype(x.dtype), x[:, :-1]], axis=1)
        y = x[:, :, None] * self.weight[0] + earlier[:, :, None] * self.weight[1]
        return y.reshape(batch, -1, channels), x[:, -1:]
