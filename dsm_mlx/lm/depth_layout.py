"""How the depth decoder's parameters lie in the tensors of published files.

PyTorch: a weight that differs by slice is one tensor with a block of rows for each weight set.
MLX: every slice is written out on its own; what slices share is there several times.
Names and shapes are those of `DepthDecoder`, without a prefix. A quantised weight brings its
`scales` and `biases`, which are cut and joined by rows as the weight is.
"""

from __future__ import annotations

import re

from dsm_mlx.files.weight_map import (
    Group,
    Shapes,
    WeightMap,
    blocks,
    join,
    rename,
    repeat,
    reshape,
    split,
)
from dsm_mlx.lm.config import DepthConfig

_ATTENTION = re.compile(r"layers\.(\d+)\.self_attn\.(in|out)_proj\.(\d+)\.(\w+)")
_GATING = re.compile(r"layers\.(\d+)\.gating\.(\d+)\.(.*)")
_NORM = re.compile(r"layers\.(\d+)\.(norm\d\.\w+)")
_NUMBERED = re.compile(r"(embs|linear_out)\.(\d+)\.(.*)")


def layout_of(shapes: Shapes, depth: DepthConfig, layout: str) -> WeightMap:
    """How the parameters (name -> shape) lie in a file of this layout, "pytorch" or "mlx"."""
    make = _mlx_group if layout == "mlx" else _pytorch_group
    groups = [make(name, shape, depth) for name, shape in shapes.items()]
    return [group for group in groups if group]


def _pytorch_group(name: str, shape: tuple[int, ...], depth: DepthConfig) -> Group | None:
    if name.startswith("linear_in."):
        leaf = name.removeprefix("linear_in.")
        files = [f"depformer_in.{i}.{leaf}" for i in range(shape[0] // depth.dim)]
        return join(name, files, shape)
    if match := _ATTENTION.fullmatch(name):
        if match[3] != "0":
            return None  # the group of weight set 0 holds all sets
        sets = range(max(depth.schedule) + 1)
        names = [name.replace("_proj.0.", f"_proj.{i}.") for i in sets]
        end = f"in_proj_{match[4]}" if match[2] == "in" else f"out_proj.{match[4]}"
        return split(names, f"depformer.layers.{match[1]}.self_attn.{end}", [shape] * len(names))
    if _NORM.fullmatch(name) and depth.norm != "layer_norm":
        file = f"depformer.{name.removesuffix('weight')}alpha"
        return reshape(name, file, shape, (1, 1, *shape))
    if match := _NUMBERED.fullmatch(name):
        start = "linears" if match[1] == "linear_out" else "depformer_emb"
        return rename(name, f"{start}.{match[2]}.{match[3]}", shape)
    if name.startswith("text_emb."):
        return rename(name, f"depformer_{name}", shape)
    return rename(name, f"depformer.{name}", shape)


def _mlx_group(name: str, shape: tuple[int, ...], depth: DepthConfig) -> Group:
    if name.startswith("linear_in."):
        return _slice_inputs(name, shape, depth)
    if match := _NORM.fullmatch(name):
        inner = f"transformer.layers.{match[1]}.{match[2]}"
        return repeat(name, _slices(range(len(depth.schedule)), inner), shape)
    if match := _ATTENTION.fullmatch(name):
        inner = f"transformer.layers.{match[1]}.self_attn.{match[2]}_proj.{match[4]}"
        return repeat(name, _slices(_users(depth, int(match[3])), inner), shape)
    if match := _GATING.fullmatch(name):
        inner = f"transformer.layers.{match[1]}.gating.{match[3]}"
        return repeat(name, _slices(_users(depth, int(match[2])), inner), shape)
    if match := _NUMBERED.fullmatch(name):
        # An embedding belongs to the slice that reads it.
        slice_ = int(match[2]) + (match[1] == "embs")
        inner = "emb" if match[1] == "embs" else "linear_out"
        return rename(name, f"depformer.slices.{slice_}.{inner}.{match[3]}", shape)
    return rename(name, f"depformer.slices.0.emb.{name.removeprefix('text_emb.')}", shape)


def _slices(numbers, inner: str) -> list[str]:
    return [f"depformer.slices.{k}.{inner}" for k in numbers]


def _users(depth: DepthConfig, weights: int) -> list[int]:
    """The slices that use this weight set."""
    return [k for k, i in enumerate(depth.schedule) if i == weights]


def _slice_inputs(name: str, shape: tuple[int, ...], depth: DepthConfig) -> Group:
    """One block of rows for each weight set; the file has one tensor for each slice."""
    block_of = depth.schedule if depth.multi_linear else (0,) * len(depth.schedule)
    return blocks(name, _slices(range(len(block_of)), name), block_of, shape)
