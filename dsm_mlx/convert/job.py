"""One conversion: from a source, by what is wanted, into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx

import dsm_mlx
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.convert import output
from dsm_mlx.convert.plan import Plan, Wanted, Weights, plan
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import converted
from dsm_mlx.files.weight_map import WeightMap
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.loading.options import DTYPES
from dsm_mlx.loading.outline import Model
from dsm_mlx.loading.weights import FLOAT32


def convert(source: Source, folder: Path, wanted: Wanted) -> None:
    """Write everything that a converted checkpoint consists of into an empty folder.

    Raises:
        CheckpointError: the source is damaged, incomplete, or cannot become what is wanted;
            found before anything is written, but for values that a smaller dtype cannot hold.
        OSError: the folder cannot be written.
    """
    limit = mx.set_cache_limit(0)
    try:
        _write(source, folder, wanted, plan(source, wanted))
    finally:
        mx.set_cache_limit(limit)


def _write(source: Source, folder: Path, wanted: Wanted, planned: Plan) -> None:
    parts: dict[str, str] = {}
    if planned.lm:
        parts[planned.lm.name] = _write_weights(
            planned.lm,
            folder,
            lambda model: lm_layout.layout_of(model, wanted.layout),
            wanted.layout,
            wanted.dtype,
            keep=FLOAT32,
        )
    if planned.codec:
        parts[planned.codec.name] = _write_weights(
            planned.codec, folder, codec_layout.pytorch, "pytorch", wanted.codec_dtype
        )
    for name, path in planned.copied.items():
        parts[name] = output.copy(path, folder / name)
    for name, data in planned.made.items():
        parts[name] = output.write(data, folder / name)
    conversion = {
        "source": source.published_name,
        "revision": source.commit,
        "recipe": wanted.recipe and wanted.recipe.name,
        "layout": wanted.layout,
        "modules": planned.modules,
        "made with": {"dsm_mlx": dsm_mlx.__version__, "mlx": version("mlx")},
        "sha256": parts,
    }
    _write_config(source, folder, planned, conversion)


def _write_weights(
    weights: Weights[Model],
    folder: Path,
    layout_of: Callable[[Model], WeightMap],
    layout: str,
    dtype: str | None,
    keep: tuple[str, ...] = (),
) -> str:
    narrowed = DTYPES[dtype] if dtype else None
    tensors = converted(weights.outline, weights.target, layout_of, narrowed, keep=keep)
    path = folder / weights.name
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"format": "mlx" if layout == "mlx" else "pt"}
    return output.write_safetensors(path, tensors, metadata)


def _write_config(source: Source, folder: Path, planned: Plan, conversion: dict) -> None:
    """The source's config, and in it how this folder came about.

    Under `model_id`, because that is where no reader of these files, PyTorch's neither, stumbles
    over what it does not know.
    """
    if planned.lm is None:
        values = dict(source.codec_values)
        before = values.get("conversion")
        values["conversion"] = conversion
    else:
        values = dict(source.checkpoint.config.values)
        values["moshi_name"] = planned.lm.name
        if lora := planned.lm.outline.lora:  # which is in the weights now
            values = {k: v for k, v in values.items() if not k.startswith("lora")}
            conversion["lora"] = {"file": lora.file.path.name, "scaling": lora.file.scaling}
        model_id = dict(values.get("model_id") or {})
        before = model_id.get("conversion")
        values["model_id"] = {**model_id, "conversion": conversion}
    if isinstance(before, dict):
        conversion["before"] = {k: v for k, v in before.items() if k != "sha256"}
    with (folder / planned.config).open("x", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=1) + "\n")
