"""Causal convolutions that stream: the state is the input that the next call still needs."""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec.matrix import Matrix


def windows(x: mx.array, kernel: int, stride: int = 1, dilation: int = 1) -> mx.array:
    """What each output of a convolution sees: (batch, length, in) -> (batch, outputs, kernel * in).

    A convolution is these windows times a matrix. `mx.conv1d` does the same on the CPU with the
    matrix laid out the slow way, and a frame has too few outputs for it to be better on a GPU.
    """
    batch, length, inputs = x.shape
    outputs = (length - (kernel - 1) * dilation - 1) // stride + 1
    shape = (batch, outputs, kernel, inputs)
    strides = (length * inputs, stride * inputs, dilation * inputs, 1)
    return mx.as_strided(x, shape, strides).reshape(batch, outputs, kernel * inputs)


class CausalConv1d(Matrix):
    """A convolution that sees only the past (reference: StreamingConv1d).

    weight: (out, kernel * in), in the order of time. The state is the last
    `(kernel - 1) * dilation + 1 - stride` inputs, zeros at the start.
    """

    def __init__(self, inputs, outputs, kernel, *, stride=1, dilation=1, bias=True):
        super().__init__(kernel * inputs, outputs, bias=bias)
        self.inputs, self.kernel = inputs, kernel
        self.stride, self.dilation = stride, dilation
        self.padding = (kernel - 1) * dilation + 1 - stride

    def init_state(self, batch: int) -> mx.array:
        """Before any sound: float32 zeros (batch, padding, in)."""
        return mx.zeros((batch, self.padding, self.inputs))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, in), whole strides -> (batch, length / stride, out), new state."""
        x = mx.concatenate([past.astype(x.dtype), x], axis=1) if self.padding else x
        y = self.product(windows(x, self.kernel, self.stride, self.dilation))
        return y, x[:, x.shape[1] - self.padding :]


class CausalConvTranspose1d(Matrix):
    """A transposed convolution with kernel 2 x stride (reference: StreamingConvTranspose1d).

    Each output group of `stride` samples depends on two inputs only: it is a convolution of
    kernel 2 with `stride * out` outputs, one matrix product.
    weight: (stride * out, 2 * in), the earlier input first. bias: (stride * out,), repeated.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(2 * inputs, stride * outputs)
        self.inputs, self.outputs, self.stride = inputs, outputs, stride

    def init_state(self, batch: int) -> mx.array:
        """Before any input: float32 zeros (batch, 1, in)."""
        return mx.zeros((batch, 1, self.inputs))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, in) -> (batch, length * stride, out), new state."""
        batch, length, _ = x.shape
        x = mx.concatenate([past.astype(x.dtype), x], axis=1)
        y = self.product(windows(x, 2))
        return y.reshape(batch, length * self.stride, self.outputs), x[:, -1:]


class DepthwiseUpsample(nn.Module):
    """The depthwise transposed convolution from 12.5 to 25 Hz; kernel 2 x stride, no bias
    (reference: ConvTrUpsample1d).

    weight: (2, stride, channels), tap 0 for the current input.
    """

    def __init__(self, channels: int, stride: int):
        super().__init__()
        self.weight = mx.zeros((2, stride, channels))

    def init_state(self, batch: int) -> mx.array:
        """Before any input: float32 zeros (batch, 1, channels)."""
        return mx.zeros((batch, 1, self.weight.shape[2]))

    def __call__(self, x: mx.array, past: mx.array) -> tuple[mx.array, mx.array]:
        """x (batch, length, channels) -> (batch, length * stride, channels), new state."""
        batch, _, channels = x.shape
        earlier = mx.concatenate([past.astype(x.dtype), x[:, :-1]], axis=1)
        y = x[:, :, None] * self.weight[0] + earlier[:, :, None] * self.weight[1]
        return y.reshape(batch, -1, channels), x[:, -1:]
