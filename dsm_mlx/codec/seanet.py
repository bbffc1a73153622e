"""SEANet: the convolutional encoder and decoder of Mimi, in streaming form.

Layers sit at the positions that they have in the reference (activations included), so that
parameter names match the files'. The state is a list with one entry for each convolution.
"""

from __future__ import annotations

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.codec.config import SeanetConfig
from dsm_mlx.codec.conv import CausalConv1d, CausalConvTranspose1d


class Elu(nn.Module):
    """x, or exp(x) - 1 below 0. Exact near 0, and half the work of `nn.elu` on a CPU."""

    def __call__(self, x: mx.array) -> mx.array:
        """x of any shape -> the same shape."""
        return mx.maximum(x, mx.expm1(mx.minimum(x, 0)))


class ResidualUnit(nn.Module):
    """x + conv(elu(conv(elu(x)))) with a true skip (reference: SEANetResnetBlock)."""

    def __init__(self, config: SeanetConfig, channels: int, dilation: int):
        super().__init__()
        inner = channels // config.compress
        self.block = [
            Elu(),
            CausalConv1d(channels, inner, config.residual_kernel_size, dilation=dilation),
            Elu(),
            CausalConv1d(inner, channels, 1),
        ]

    def init_state(self, batch: int) -> list[mx.array]:
        """Before any sound: of each of the two convolutions."""
        return init_states(self.block, batch)

    def __call__(self, x: mx.array, state: list[mx.array]) -> tuple[mx.array, list[mx.array]]:
        """x (batch, length, channels) -> the same shape, new state."""
        y, state = run(self.block, x, state)
        return x + y, state


def init_states(layers: list, batch: int) -> list:
    """The states of those layers that have one, before any sound."""
    return [layer.init_state(batch) for layer in layers if hasattr(layer, "init_state")]


def run(layers: list, x: mx.array, states: list) -> tuple[mx.array, list]:
    """Run the layers in turn; those with a state take theirs from `states`."""
    rest, after = iter(states), []
    for layer in layers:
        if hasattr(layer, "init_state"):
            x, state = layer(x, next(rest))
            after.append(state)
        else:
            x = layer(x)
    return x, after


class Seanet(nn.Module):
    """A sequence of streaming layers under the reference's name, `model` (reference: SEANetEncoder
    and SEANetDecoder in moshi/modules/seanet.py)."""

    def init_state(self, batch: int) -> list:
        """Before any sound: of each layer that has one."""
        return init_states(self.model, batch)

    def __call__(self, x: mx.array, state: list) -> tuple[mx.array, list]:
        """x as the subclass says, new state."""
        return run(self.model, x, state)


class SeanetEncoder(Seanet):
    """PCM (batch, samples, 1) -> latent (batch, samples / hop, dimension)."""

    def __init__(self, config: SeanetConfig):
        super().__init__()
        c, width = config, config.n_filters
        layers: list[nn.Module] = [CausalConv1d(c.channels, width, c.kernel_size)]
        for ratio in reversed(c.ratios):
            layers += [
                ResidualUnit(c, width, c.dilation_base**j) for j in range(c.n_residual_layers)
            ]
            layers += [Elu(), CausalConv1d(width, 2 * width, 2 * ratio, stride=ratio)]
            width *= 2
        self.model = [*layers, Elu(), CausalConv1d(width, c.dimension, c.last_kernel_size)]


class SeanetDecoder(Seanet):
    """Latent (batch, steps, dimension) -> PCM (batch, steps * hop, 1)."""

    def __init__(self, config: SeanetConfig):
        super().__init__()
        c, width = config, config.n_filters * 2 ** len(config.ratios)
        layers: list[nn.Module] = [CausalConv1d(c.dimension, width, c.kernel_size)]
        for ratio in c.ratios:
            layers += [Elu(), CausalConvTranspose1d(width, width // 2, ratio)]
            width //= 2
            layers += [
                ResidualUnit(c, width, c.dilation_base**j) for j in range(c.n_residual_layers)
            ]
        self.model = [*layers, Elu(), CausalConv1d(width, c.channels, c.last_kernel_size)]
