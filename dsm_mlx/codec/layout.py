"""Mimi's parameters and the tensors of the published files (PyTorch layout)."""

from __future__ import annotations

import re

import mlx.core as mx
from mlx.utils import tree_flatten

from dsm_mlx.codec.conv import CausalConvTranspose1d
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.layouts import Group, Layout, rename

_CONV = re.compile(r"((?:encoder|decoder)\.model\.\d+(?:\.block\.\d+)?)\.(weight|bias)")
_CODEBOOK = re.compile(r"(quantizer\.rvq_\w+)\.codebooks\.(\d+)")


def pytorch(model: MimiModel) -> Layout:
    """How the parameters of `model` lie in a published Mimi file."""
    transposed = {
        f"decoder.model.{i}": layer
        for i, layer in enumerate(model.decoder.model)
        if isinstance(layer, CausalConvTranspose1d)
    }
    return [_group(name, w.shape, transposed) for name, w in tree_flatten(model.parameters())]


def _group(name: str, shape: tuple[int, ...], transposed: dict) -> Group:
    if name == "upsample.weight":
        return _upsample(name, shape)
    if name == "downsample.weight":
        return _conv(name, "downsample.conv.conv.conv.weight", shape)
    if match := _CODEBOOK.fullmatch(name):
        return _codebook(name, f"{match[1]}.vq.layers.{match[2]}._codebook", shape)
    if match := _CONV.fullmatch(name):
        layer, leaf = match.groups()
        kind = "convtr" if layer in transposed else "conv"
        file = f"{layer}.{kind}.{kind}.{leaf}"
        if leaf == "bias":
            return rename(name, file, shape)
        if layer in transposed:
            return _conv_transpose(name, file, transposed[layer])
        return _conv(name, file, shape)
    if name.startswith("quantizer."):
        return _pointwise(name, shape)
    file = name.replace("transformer.layers.", "transformer.transformer.layers.")
    return rename(name, file.replace("in_proj.weight", "in_proj_weight"), shape)


def _conv(name: str, file: str, shape) -> Group:
    """(out, kernel, in) <-> (out, in, kernel)."""
    outputs, kernel, inputs = shape
    return Group(
        [name],
        {file: (outputs, inputs, kernel)},
        load=lambda w: [w.swapaxes(1, 2)],
        save=lambda w: [w.swapaxes(1, 2)],
    )


def _pointwise(name: str, shape) -> Group:
    """A Linear kept as a convolution of kernel 1: (out, in) <-> (out, in, 1)."""
    return Group(
        [name],
        {name: (*shape, 1)},
        load=lambda w: [w[..., 0]],
        save=lambda w: [w[..., None]],
    )


def _conv_transpose(name: str, file: str, layer: CausalConvTranspose1d) -> Group:
    """(stride * out, 2, in), earlier input first <-> (in, out, 2 * stride)."""
    rows, _, inputs = layer.weight.shape
    outputs, stride = layer.outputs, layer.stride

    def load(w: mx.array) -> list[mx.array]:
        taps = w.reshape(inputs, outputs, 2, stride).transpose(3, 1, 2, 0)
        return [taps[:, :, ::-1].reshape(rows, 2, inputs)]

    def save(w: mx.array) -> list[mx.array]:
        taps = w.reshape(stride, outputs, 2, inputs)[:, :, ::-1]
        return [taps.transpose(3, 1, 2, 0).reshape(inputs, outputs, 2 * stride)]

    return Group([name], {file: (inputs, outputs, 2 * stride)}, load, save)


def _upsample(name: str, shape) -> Group:
    """(2, stride, channels) <-> (channels, 1, 2 * stride)."""
    _, stride, channels = shape
    return Group(
        [name],
        {"upsample.convtr.convtr.convtr.weight": (channels, 1, 2 * stride)},
        load=lambda w: [w.reshape(channels, 2, stride).transpose(1, 2, 0)],
        save=lambda w: [w.transpose(2, 0, 1).reshape(channels, 1, 2 * stride)],
    )


def _codebook(name: str, file: str, shape) -> Group:
    """The files hold running sums; the codebook is their quotient (EuclideanCodebook)."""

    def load(total: mx.array, usage: mx.array, _initialized: mx.array) -> list[mx.array]:
        return [total / mx.maximum(usage, 1e-5)[:, None]]

    def save(codebook: mx.array) -> list[mx.array]:
        return [codebook, mx.ones((shape[0],)), mx.ones((1,))]

    files = {
        f"{file}.embedding_sum": shape,
        f"{file}.cluster_usage": shape[:1],
        f"{file}._initialized": (1,),
    }
    return Group([name], files, load, save)
