"""One conversion: from a source, by what is wanted, into a folder."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn

import dsm_mlx
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.convert import output, voices
from dsm_mlx.convert.recipes import CODEC, DEFAULT_GROUP, Recipe, Spec, predicate, role
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import converted, leaves, spec_of, specs_of
from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.checkpoint import DTYPES, MIMI_CONFIG, Outline
from dsm_mlx.loading.weights import FLOAT32

_NAME = "model.safetensors"
# moshi_mlx takes from these ends of a name how a file is quantised.
_KNOWN_NAMES = {Spec(4, 32): "model.q4.safetensors", Spec(8, 64): "model.q8.safetensors"}


@dataclass(frozen=True)
class Wanted:
    """What shall become of a checkpoint; None leaves a thing as it is.

    layout: "mlx" or "pytorch". codec_bits: of its transformers, whatever the recipe says of them.
    voices: which ones to take along, None for all beside the model.
    """

    recipe: Recipe | None = None
    dequantize: bool = False
    dtype: str | None = None
    layout: str = "mlx"
    codec_dtype: str | None = None
    codec_bits: int | None = None
    voices: list[str] | None = None

    @property
    def codec_recipe(self) -> Recipe | None:
        if self.codec_bits is None:
            return self.recipe
        spec = Spec(self.codec_bits, DEFAULT_GROUP[self.codec_bits])
        return Recipe("codec", "the codec alone", {CODEC: spec})


def convert(source: Source, folder: Path, wanted: Wanted) -> None:
    """Write everything that a converted checkpoint consists of into an empty folder.

    Raises:
        CheckpointError: the source is damaged, incomplete, or cannot become what is wanted.
        OSError: the folder cannot be written.
    """
    if source.lm is None and wanted.recipe and CODEC not in wanted.codec_recipe.table:
        raise CheckpointError(
            f"{source.published_name}: a codec alone, which {wanted.recipe.name} leaves as it is "
            "(give --codec-bits)"
        )
    limit = mx.set_cache_limit(0)
    try:
        _convert(source, folder, wanted)
    finally:
        mx.set_cache_limit(limit)


def _convert(source: Source, folder: Path, wanted: Wanted) -> None:
    parts: dict[str, str] = {}
    quantised: dict[str, dict] = {}
    values = dict(source.lm.config.values) if source.lm else {}
    if source.lm:
        quantised |= _write_lm(source, folder, wanted, values, parts)
        _put(source, source.lm.config.get("tokenizer_name", str), folder, parts)
    quantised |= _write_codec(source, folder, wanted, parts)
    for name, path in voices.chosen(source, wanted.voices).items():
        parts[name] = output.copy(path, folder / name)
    conversion = {
        "source": source.published_name,
        "revision": source.commit,
        "recipe": wanted.recipe and wanted.recipe.name,
        "layout": wanted.layout,
        "modules": quantised,
        "made with": {"dsm_mlx": dsm_mlx.__version__, "mlx": version("mlx")},
        "sha256": parts,
    }
    _write_config(source, folder, values, conversion)


def _write_lm(source: Source, folder: Path, wanted: Wanted, values: dict, parts: dict) -> dict:
    outline = source.lm.outline_lm()
    target = MultistreamLM(outline.model.config)
    _quantize(outline, target, wanted.recipe, wanted.dequantize)
    name = _weights_name(target) if wanted.layout == "mlx" else _NAME
    tensors = converted(
        outline,
        target,
        lambda model: lm_layout.layout_of(model, wanted.layout),
        wanted.dtype and DTYPES[wanted.dtype],
        keep=FLOAT32,
    )
    parts[name] = output.write_safetensors(folder / name, tensors, _metadata(wanted.layout))
    values["moshi_name"] = name
    return _as_record(target)


def _quantize(outline: Outline, target: nn.Module, recipe: Recipe | None, dequantize: bool) -> None:
    """Make of `target`, unquantised, what its weights shall become."""
    blocks = target.config.transformer.layers
    modules = leaves(target)
    meant = recipe and any(recipe.table.get(role(path, blocks)) for path in modules)
    before = specs_of(outline.model)
    if before and meant and not dequantize:
        raise CheckpointError(
            f"{outline.path}: is quantised already, and quantising it anew loses more (convert "
            "its original, or give --dequantize as well)"
        )
    if before and not dequantize:
        nn.quantize(target, class_predicate=predicate(lambda path, _: before.get(path)))
    elif meant:
        recipe.quantize(target, blocks)


def _weights_name(model: MultistreamLM) -> str:
    """As moshi_mlx expects it, where everything is quantised as it expects it.

    It does not quantise all tables of a text-to-speech model, and we do.
    """
    if model.config.depth:
        return _NAME
    specs = {spec_of(module) for module in leaves(model).values()}
    return _KNOWN_NAMES.get(specs.pop(), _NAME) if len(specs) == 1 else _NAME


def _write_codec(source: Source, folder: Path, wanted: Wanted, parts: dict) -> dict:
    settings = source.checkpoint.config
    config, name = settings.get("mimi_config_name", str, None), settings.get("mimi_name", str)
    if source.lm and config:
        _put(source, config, folder, parts)
    outline = source.codec
    target = MimiModel(outline.model.config)
    _quantize(outline, target, wanted.codec_recipe, wanted.dequantize)
    if specs_of(target) == specs_of(outline.model) and not wanted.codec_dtype:
        outline.tensors()  # refuses a file that does not fit its config
        _put(source, name, folder, parts)
    else:
        dtype = wanted.codec_dtype and DTYPES[wanted.codec_dtype]
        tensors = converted(outline, target, codec_layout.pytorch, dtype)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        parts[name] = output.write_safetensors(path, tensors, _metadata("pytorch"))
    return _as_record(target)


def _put(source: Source, name: str, folder: Path, parts: dict) -> None:
    """Copy a file of the source under its own name, which was checked when it was found."""
    parts[name] = output.copy(source.checkpoint.files.get(name), folder / name)


def _metadata(layout: str) -> dict[str, str]:
    return {"format": "mlx" if layout == "mlx" else "pt"}


def _as_record(model: nn.Module) -> dict[str, dict[str, int]]:
    """How many modules of each role are how: {"attention": {"4 bits, groups of 32": 12}}."""
    table: dict[str, Counter] = {}
    for path, module in leaves(model).items():
        if part := role(path, model.config.transformer.layers):
            table.setdefault(part, Counter())[str(spec_of(module) or "not quantised")] += 1
    return table


def _write_config(source: Source, folder: Path, values: dict, conversion: dict) -> None:
    """The source's config, and in it how this folder came about.

    Under `model_id`, because that is where no reader of these files, PyTorch's neither, stumbles
    over what it does not know.
    """
    if source.lm is None:
        name, values = MIMI_CONFIG, source.codec_values
        before = values.get("conversion")
        values["conversion"] = conversion
    else:
        name, model_id = "config.json", dict(values.get("model_id") or {})
        before = model_id.get("conversion")
        values["model_id"] = {**model_id, "conversion": conversion}
    if isinstance(before, dict):
        conversion["before"] = {k: v for k, v in before.items() if k != "sha256"}
    with (folder / name).open("x", encoding="utf-8") as file:
        file.write(json.dumps(values, indent=1) + "\n")
