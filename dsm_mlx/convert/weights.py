"""Tensors of a file -> tensors of another, computed one by one as they are written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.convert.recipes import Spec
from dsm_mlx.files import weight_map
from dsm_mlx.files.weight_map import WeightMap
from dsm_mlx.loading.outline import Model, Outline
from dsm_mlx.loading.quantization import QUANTIZED

Specs = dict[str, Spec]
_LEAVES = ("weight", "scales", "biases")


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that are or can be quantised, by path."""
    return {
        path: module
        for path, module in model.named_modules()
        if hasattr(module, "to_quantized") or spec_of(module)
    }


def spec_of(module: nn.Module) -> Spec | None:
    """How a module is quantised; None if it is not."""
    if isinstance(module, QUANTIZED):
        return Spec(module.bits, module.group_size, module.mode)
    return None


def specs_of(model: nn.Module) -> Specs:
    """How the quantised modules of a model are quantised, by path."""
    return {path: spec for path, m in leaves(model).items() if (spec := spec_of(m))}


def converted(
    source: Outline[Model],
    target: Model,
    layout_of: Callable[[Model], WeightMap],
    dtype: mx.Dtype | None = None,
    keep: tuple[str, ...] = (),
) -> dict[str, mx.array]:
    """The tensors of a file for `target`, in the order in which the source brings their parts.

    All are lazy: nothing is read before it is evaluated, and evaluated in this order, little is
    alive at any time.

    target: a model with the source's parameters, quantised as wanted; its arrays are not used.
    layout_of: the layout to write.
    dtype: of all floating tensors but those under a path in `keep`; None: as they are.
    """
    before, after = specs_of(source.model), specs_of(target)
    groups = weight_map.apart(source.layout)
    parameters = weight_map.load(groups, source.tensors())
    place = {_module(name): i for i, group in enumerate(groups) for name in group.names}
    written: dict[str, mx.array] = {}
    wanted = weight_map.apart(layout_of(target))
    for module in dict.fromkeys(_module(name) for group in wanted for name in group.names):
        written |= _module_as_wanted(module, parameters, before, after, dtype, keep)
    wanted.sort(key=lambda group: place[_module(group.names[0])])
    return weight_map.save(wanted, written)


def _module(name: str) -> str:
    """ "audio_emb.scales#3" -> "audio_emb#3": what belongs together."""
    path, _, block = name.partition("#")
    head, _, leaf = path.rpartition(".")
    return f"{head if leaf in _LEAVES else path}#{block}"


def _module_as_wanted(module, parameters, before, after, dtype, keep) -> dict[str, mx.array]:
    """The parameters of one module, or of one block of it, by their names in the target."""
    path, _, block = module.partition("#")
    end = f"#{block}" if block else ""
    arrays = {leaf: parameters.get(f"{path}.{leaf}{end}") for leaf in _LEAVES}
    arrays = {leaf: array for leaf, array in arrays.items() if array is not None}
    if not arrays:
        return {path + end: _cast(parameters[path + end], path, dtype, keep)}
    old, new = before.get(path), after.get(path)
    if old != new:
        weight = _dequantized(arrays, old, dtype) if old else arrays["weight"]
        arrays = {"weight": _cast(weight, path, dtype, keep)}
        if new:
            parts = mx.quantize(arrays["weight"], new.group_size, new.bits, mode=new.mode)
            arrays = dict(zip(_LEAVES, parts, strict=False))  # some modes have no biases
    return {
        f"{path}.{leaf}{end}": _cast(array, path, dtype, keep) for leaf, array in arrays.items()
    }


def _dequantized(arrays: dict[str, mx.array], spec: Spec, dtype: mx.Dtype | None) -> mx.array:
    """Computed in float32, and by default as precise as the scales are.

    Small floats have no scales of that kind: MLX makes them bfloat16.
    """
    packed, scales, biases = arrays["weight"], arrays["scales"], arrays.get("biases")
    unpack = partial(mx.dequantize, group_size=spec.group_size, bits=spec.bits, mode=spec.mode)
    if biases is None:
        return unpack(packed, scales)
    exact = unpack(packed, scales.astype(mx.float32), biases.astype(mx.float32))
    return exact.astype(dtype or scales.dtype)


def _cast(array: mx.array, path: str, dtype: mx.Dtype | None, keep: tuple[str, ...]) -> mx.array:
    if dtype is None or not mx.issubdtype(array.dtype, mx.floating) or path.startswith(keep):
        return array
    return array.astype(dtype)
