"""Quantised modules: made while loading, or recognised in a file."""

from __future__ import annotations

from itertools import product

import mlx.nn as nn

from dsm_mlx.files.safetensors import Header
from dsm_mlx.files.weight_map import WeightMap

QUANTIZED = (nn.QuantizedLinear, nn.QuantizedEmbedding)
GROUP_SIZES = {4: 32, 8: 64}  # Kyutai's own choice for each width
# What MLX can quantise to: (group size, bits) of the integer mode, and of its small floats.
_AFFINE = tuple(product((32, 64, 128), (2, 3, 4, 5, 6, 8)))
_FLOATS = {(32, 4): "mxfp4", (32, 8): "mxfp8", (16, 4): "nvfp4"}


def quantize(model: nn.Module, bits: int) -> None:
    """Quantise every Linear and embedding whose width allows it, as Kyutai's q4 and q8 files.

    Conditioners are left alone: they are computed in float32, once a session.
    """
    size = GROUP_SIZES[bits]

    def fits(path: str, module: nn.Module) -> bool:
        wide = hasattr(module, "to_quantized") and module.weight.shape[-1] % size == 0
        return wide and not path.startswith("condition_provider")

    nn.quantize(model, size, bits, class_predicate=fits)


def quantize_as_in_file(model: nn.Module, header: Header, layout: WeightMap) -> bool:
    """Make those modules quantised that are so in the file; whether there are any.

    Each may have bits and a group size of its own: both follow from the shapes of its tensors.
    layout: of the model as it is, unquantised.
    """
    files = {name: next(iter(group.files)) for group in layout for name in group.names}
    found = False

    def as_in_file(path: str, module: nn.Module) -> bool | dict:
        nonlocal found
        if not hasattr(module, "to_quantized"):
            return False
        file = files[f"{path}.weight"]
        packed = header.tensors.get(file)
        scales = header.tensors.get(file.removesuffix("weight") + "scales")
        if not packed or not scales or not packed.shape or not scales.shape:
            return False
        width = module.weight.shape[-1]
        for group_size, bits in _FLOATS if scales.dtype == "U8" else _AFFINE:
            if scales.shape[-1] * group_size == width and packed.shape[-1] * 32 == width * bits:
                found = True
                mode = _FLOATS[group_size, bits] if scales.dtype == "U8" else "affine"
                return {"group_size": group_size, "bits": bits, "mode": mode}
        return False

    nn.quantize(model, class_predicate=as_in_file)
    return found
