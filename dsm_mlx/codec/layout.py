"""Mimi's parameters and the tensors of the published files, in Kyutai's layout (PyTorch) and in
that of Transformers."""

from __future__ import annotations

import re
from dataclasses import replace

import mlx.core as mx

from dsm_mlx.codec.conv import CausalConv1d, CausalConvTranspose1d
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.files.tensors import flat
from dsm_mlx.files.weight_map import Group, WeightMap, rename, turned

_CODEBOOK = re.compile(r"(quantizer\.rvq_\w+)\.codebooks\.(\d+)\.weight")


# What tensors are called in the Transformers layout, the first that fits.
_TRANSFORMERS = {
    r"(\.conv(tr)?)+(?=\.)": ".conv",
    r"rvq_first(\.vq)?": "semantic_residual_vector_quantizer",
    r"rvq_rest(\.vq)?": "acoustic_residual_vector_quantizer",
    r"\b_codebook": "codebook",
    r"\b_initialized": "initialized",
    "embedding_sum": "embed_sum",
    r"coder\.model": "coder.layers",
    r"transformer\.transformer": "transformer",
    "linear1": "mlp.fc1",
    "linear2": "mlp.fc2",
    "out_proj": "o_proj",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
    "layer_scale_1": "self_attn_layer_scale",
    "layer_scale_2": "mlp_layer_scale",
}


def recognise(names) -> str:
    """Which layout these tensor names are of: "pytorch" or "transformers"."""
    return "transformers" if "encoder.layers.0.conv.weight" in names else "pytorch"


def layout_of(model: MimiModel, layout: str) -> WeightMap:
    """How the parameters of `model` lie in a file of this layout."""
    groups = pytorch(model)
    return [_as_transformers(model, g) for g in groups] if layout == "transformers" else groups


def _as_transformers(model: MimiModel, group: Group) -> Group:
    files = {}
    for file, shape in group.files.items():
        for ours, theirs in _TRANSFORMERS.items():
            file = re.sub(ours, theirs, file)
        files[file] = shape
    if file.endswith(".self_attn.in_proj_weight"):
        heads, start = model.config.transformer.heads, file.removesuffix("in_proj_weight")
        names = [f"{start}{each}_proj.weight" for each in "qkv"]
        return turned(group.names[0], names, heads, heads, shape)
    return replace(group, files=files)


def pytorch(model: MimiModel) -> WeightMap:
    """How the parameters of `model` lie in a published Mimi file."""
    modules = dict(model.named_modules())
    groups = []
    for name, array in flat(model.parameters()):
        path, _, leaf = name.rpartition(".")
        module = modules.get(path)
        if isinstance(module, CausalConvTranspose1d):
            groups.append(_conv_transpose(path, leaf, module))
        elif isinstance(module, CausalConv1d):
            groups.append(_conv(path, leaf, module))
        elif not (path.startswith("quantizer.") and leaf == "bias"):
            groups.append(_other(name, array.shape))
    return groups


def _other(name: str, shape: tuple[int, ...]) -> Group:
    if name == "upsample.weight":
        return _upsample(name, shape)
    if match := _CODEBOOK.fullmatch(name):
        return _codebook(name, f"{match[1]}.vq.layers.{match[2]}._codebook", shape)
    if name.startswith("quantizer."):
        return _pointwise(name, shape)
    file = name.replace("transformer.layers.", "transformer.transformer.layers.")
    return rename(name, file.replace("in_proj.", "in_proj_"), shape)


def _conv(path: str, leaf: str, conv: CausalConv1d) -> Group:
    """(out, kernel * in) <-> (out, in, kernel)."""
    name = f"{path}.{leaf}"
    file = f"{path}.conv.conv.conv.{leaf}" if path == "downsample" else f"{path}.conv.conv.{leaf}"
    if leaf == "bias":
        return rename(name, file, conv.bias.shape)
    outputs = conv.weight.shape[0]
    return Group(
        [name],
        {file: (outputs, conv.inputs, conv.kernel)},
        load=lambda w: [w.swapaxes(1, 2).reshape(outputs, -1)],
        save=lambda w: [w.reshape(outputs, conv.kernel, conv.inputs).swapaxes(1, 2)],
    )


def _pointwise(name: str, shape) -> Group:
    """A Linear kept as a convolution of kernel 1: (out, in) <-> (out, in, 1)."""
    return Group(
        [name],
        {name: (*shape, 1)},
        load=lambda w: [w[..., 0]],
        save=lambda w: [w[..., None]],
    )


def _conv_transpose(path: str, leaf: str, conv: CausalConvTranspose1d) -> Group:
    """(stride * out, 2 * in), earlier input first <-> (in, out, 2 * stride); bias repeated."""
    inputs, outputs, stride = conv.inputs, conv.outputs, conv.stride
    names, file = [f"{path}.{leaf}"], f"{path}.convtr.convtr.{leaf}"
    if leaf == "bias":
        return Group(
            names,
            {file: (outputs,)},
            load=lambda b: [mx.tile(b, stride)],
            save=lambda b: [b[:outputs]],
        )

    def load(w: mx.array) -> list[mx.array]:
        taps = w.reshape(inputs, outputs, 2, stride).transpose(3, 1, 2, 0)
        return [taps[:, :, ::-1].reshape(stride * outputs, 2 * inputs)]

    def save(w: mx.array) -> list[mx.array]:
        taps = w.reshape(stride, outputs, 2, inputs)[:, :, ::-1]
        return [taps.transpose(3, 1, 2, 0).reshape(inputs, outputs, 2 * stride)]

    return Group(names, {file: (inputs, outputs, 2 * stride)}, load, save)


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
        codebook = total / mx.maximum(usage, 1e-5)[:, None]
        return [codebook, -0.5 * (codebook * codebook).sum(-1)]

    def save(codebook: mx.array, _bias: mx.array) -> list[mx.array]:
        return [codebook, mx.ones((shape[0],)), mx.ones((1,))]

    files = {
        f"{file}.embedding_sum": shape,
        f"{file}.cluster_usage": shape[:1],
        f"{file}._initialized": (1,),
    }
    return Group([name, name.replace(".weight", ".bias")], files, load, save)
