"""What is measured: a checkpoint's model, or one of random weights in an official shape."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten, tree_map_with_path

from dsm_mlx.codec.config import OFFICIAL
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading import options
from dsm_mlx.loading.quantization import quantize
from dsm_mlx.loading.weights import FLOAT32, materialise

_SHAPES = Path(__file__).parent / "shapes"
NAMES = sorted(path.stem for path in _SHAPES.glob("*.json"))


def config(name: str) -> ConfigReader:
    """The `config.json` of an official model, without the names of its files."""
    return ConfigReader.read(_SHAPES / f"{name}.json")


def random_lm(
    name: str, bits: int | None = None, dtype: str | None = None, cache: str | None = None
) -> MultistreamLM:
    """A language model of an official shape; unquantised weights are never made on the way."""
    model = MultistreamLM(LmConfig.read(config(name)))
    if bits:
        quantize(model, bits)
    _fill(model, mx.bfloat16)
    materialise(model, options.dtype_of(dtype), keep=FLOAT32)
    for _ in model.prepare():
        pass
    model.cache = cache or options.default_cache(dtype, bool(bits))
    return model


def random_mimi(codebooks: int, *, encoder: bool = True, decoder: bool = True) -> MimiModel:
    """The codec in its official shape, or one half of it."""
    model = MimiModel(OFFICIAL)
    model.keep(codebooks, encoder=encoder, decoder=decoder)
    _fill(model, mx.float32)
    materialise(model, mx.float32)
    return model


def plain_mimi() -> MimiModel:
    """The codec as it lies in its files, both halves, of random weights."""
    model = MimiModel(OFFICIAL)
    _fill(model, mx.float32)
    materialise(model, mx.float32)
    return model


def _fill(model: nn.Module, dtype: mx.Dtype) -> None:
    """Put random values, always the same, where the constructors would compute some.

    dtype: of floating values, as in the official files.
    """
    random = np.random.default_rng(0)
    quantized = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, (nn.QuantizedLinear, nn.QuantizedEmbedding))
    }

    def value(name: str, array: mx.array) -> mx.array:
        path, _, leaf = name.rpartition(".")
        if array.dtype == mx.uint32:
            return mx.array(random.integers(0, 2**32, array.shape, np.uint32))
        if path in quantized:  # levels from 0 up, which the bias centres
            width = quantized[path].weight.shape[-1] * 32 // quantized[path].bits
            step = 3.5 * width**-0.5 / 2 ** quantized[path].bits
            middle = step * (2 ** quantized[path].bits - 1) / 2
            return mx.full(array.shape, step if leaf == "scales" else -middle, dtype)
        if array.ndim == 1:  # of norms and layer scales, or a bias
            return mx.full(array.shape, float(leaf != "bias"), dtype)
        width = array.size // array.shape[0]
        normal = random.standard_normal(array.shape, np.float32) * np.float32(width**-0.5)
        return mx.array(normal, dtype)

    model.update(tree_map_with_path(value, model.parameters()))


def size(model: nn.Module, skip: tuple[str, ...] = ()) -> int:
    """Bytes of all parameters but those under the paths in `skip`."""
    return sum(
        array.nbytes
        for name, array in tree_flatten(model.parameters())
        if not (skip and name.startswith(skip))
    )


def state_size(state) -> int:
    """Bytes of all arrays in a state."""
    return sum(array.nbytes for _, array in tree_flatten(state))


def read_of_row(lm: MultistreamLM, state: dict, positions: int | None = None) -> int:
    """Bytes of a row's state that a step reads when no row has more than so many positions; None:
    when the rings are full."""
    slots = lm.config.transformer.context
    looked_at = slots if positions is None else lm.seen(positions) or slots
    rings = state_size(state["lm"]["rings"])
    return state_size(state) - rings + rings * looked_at // slots
