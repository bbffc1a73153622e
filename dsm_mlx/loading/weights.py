"""Weights come into memory in the form in which steps read them."""

from __future__ import annotations

import cmath
from itertools import groupby
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_map_with_path

from dsm_mlx.codec.matrix import Matrix
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.tensors import flat
from dsm_mlx.lm.embedding import TokenEmbedding
from dsm_mlx.loading.quantization import QUANTIZED
from dsm_mlx.messages import cut, named
from dsm_mlx.runtime.device import limit_memory_once, on_cpu
from dsm_mlx.runtime.worker import Pieces, complete

FLOAT32 = ("condition_provider",)  # what stays float32 whatever the dtype
_FEW = 1 << 14  # values that are added up in no time, however they lie


def damaged(name: str) -> CheckpointError:
    """What to tell of a model, called `name`, that computes what is not finite."""
    return CheckpointError(f"{named(name)}: its outputs are not finite (damaged weights?)")


def materialise(model: nn.Module, dtype: mx.Dtype, keep: tuple[str, ...] = ()) -> str | None:
    """As `materialise_pieces`, in one go."""
    return complete(materialise_pieces(model, dtype, keep))


def materialise_pieces(
    model: nn.Module, dtype: mx.Dtype, keep: tuple[str, ...] = ()
) -> Pieces[str | None]:
    """Bring the weights of `model` into memory one by one, floating ones as `dtype`.

    keep: paths under which they become float32 instead. Tables of embeddings and the scales of
    quantised weights are never made wider: their values count, not their type.
    Yields the fraction that is done, by bytes. Returns the path of a weight that is not finite,
    after which it stopped, or None.
    """
    limit_memory_once()
    narrow = _may_be_narrow(model)

    def cast(path: str, array: mx.array) -> mx.array:
        if not mx.issubdtype(array.dtype, mx.floating):
            return array
        target = mx.float32 if keep and path.startswith(keep) else dtype
        if path in narrow and array.dtype.size < target.size:
            return array
        return array.astype(target)

    model.update(tree_map_with_path(cast, model.parameters()))
    turned = _lay_out_for_cpu(model) if on_cpu() else set()
    weights = _in_loading_order(model)
    total, done = sum(array.nbytes for _, array in weights) or 1, 0
    for name, array in weights:
        if not bring_in(array, -1 if name in turned else 0):
            return name
        done += array.nbytes
        yield done / total
    return None


def bring_in(array: mx.array, axis: int = 0) -> bool:
    """Evaluate an array; whether all of it is finite.

    A sum takes one pass and next to no memory, and tells: only if it is not finite is every value
    looked at, because it may have overflowed.

    axis: along which neighbours are far apart in memory. Adding up along it is four times as fast.
    """
    if not mx.issubdtype(array.dtype, mx.floating):
        mx.eval(array)
        return True
    total = array.sum(axis).sum() if array.size > _FEW else array.sum()
    mx.eval(array, total)
    return cmath.isfinite(total.item()) or bool(mx.isfinite(array).all().item())


def check_finite(tensors: dict[str, mx.array], path: Path) -> None:
    """CheckpointError for a tensor of the file at `path` that is not finite. Of the tensors, which
    are taken out, only one at a time is in memory."""
    for name in list(tensors):
        if not bring_in(tensors.pop(name)):
            raise CheckpointError(
                f"{named(path)}: {cut(name, 80)} holds values that are not finite"
            )


def _in_loading_order(model: nn.Module) -> list[tuple[str, mx.array]]:
    """The parameters, to be evaluated one at a time: what the file holds is freed in between.

    Neighbours stay together, because some are cut out of one tensor. The largest come first: on
    the way to its final form an array is in memory two or three times.
    """
    parameters = flat(model.parameters())
    neighbours = groupby(parameters, key=lambda item: item[0].rsplit(".", 2)[0])
    groups = [list(items) for _, items in neighbours]
    groups.sort(key=lambda items: -max(array.nbytes for _, array in items))
    return [item for items in groups for item in items]


def _may_be_narrow(model: nn.Module) -> set[str]:
    """Paths of the parameters that need not be as wide as the activations."""
    paths = set()
    for path, module in model.named_modules():
        if isinstance(module, TokenEmbedding):
            paths.add(f"{path}.weight")
        if isinstance(module, QUANTIZED):
            paths |= {f"{path}.scales", f"{path}.biases"}
    return paths


def _lay_out_for_cpu(model: nn.Module) -> set[str]:
    """Keep float32 matrices as (in, out) in memory, whatever their shape says; the paths of those.

    With 1, 8 and 16 rows that is 1.1 to 1.5 times as fast with netlib's BLAS, which MLX's CPU wheel
    has, and 1.2 to 1.5 times with OpenBLAS and the kernels that `runtime.blas` asks for. Narrower
    types are multiplied by MLX itself, which takes up to 2.7 times as long with it.
    """
    paths = set()
    for path, module in model.named_modules():
        if isinstance(module, (nn.Linear, Matrix)) and module.weight.dtype == mx.float32:
            module.weight = mx.contiguous(module.weight.T).T
            paths.add(f"{path}.weight")
    return paths
