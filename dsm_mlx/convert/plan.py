"""What a conversion will write, all of it checked before the first byte is written."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Generic

import mlx.nn as nn

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.convert import voices
from dsm_mlx.convert.recipes import CODEC, DEFAULT_GROUP, Recipe, Spec, predicate, role
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import leaves, spec_of, specs_of
from dsm_mlx.errors import CheckpointError
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.checkpoint import MIMI_CONFIG
from dsm_mlx.loading.options import DTYPES
from dsm_mlx.loading.outline import Model, Outline
from dsm_mlx.messages import cut, named, shown

_NAME = "model.safetensors"
# moshi_mlx takes from these ends of a name how a file is quantised.
_KNOWN_NAMES: dict[Spec | None, str] = {
    Spec(4, 32): "model.q4.safetensors",
    Spec(8, 64): "model.q8.safetensors",
}


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
        """What is quantised of the codec: `codec_bits` if they are given, else as `recipe` says."""
        if self.codec_bits is None:
            return self.recipe
        spec = Spec(self.codec_bits, DEFAULT_GROUP[self.codec_bits])
        return Recipe("codec", "the codec alone", {CODEC: spec})


@dataclass(frozen=True)
class Weights(Generic[Model]):
    """A file of weights that is computed.

    name: in the new folder. target: the model, quantised as wanted, whose arrays are not used.
    """

    name: str
    outline: Outline[Model]
    target: Model


@dataclass
class Plan:
    """The files of a new folder.

    config: the name of the config. lm, codec: weights to compute; None where there is no such
    model, or its file is copied. copied: names in the new folder -> files. made: of a source in the
    Transformers layout, names -> what Kyutai's files would hold. modules: of each role,
    how many modules will be how: {"attention": {"4 bits, groups of 32": 12}}.
    """

    config: str
    lm: Weights[MultistreamLM] | None
    codec: Weights[MimiModel] | None
    copied: dict[str, Path]
    made: dict[str, bytes]
    modules: dict[str, dict[str, int]]


def plan(source: Source, wanted: Wanted) -> Plan:
    """Find and check everything that a conversion needs.

    Raises:
        CheckpointError: the source is damaged or incomplete, a file of it lies elsewhere, it
            cannot become what is wanted, or two things would be written to one file.
    """
    alone, recipe = source.lm is None, wanted.codec_recipe
    if alone and wanted.recipe and recipe and CODEC not in recipe.table:
        raise CheckpointError(
            f"{named(source.published_name)}: a codec alone, which {wanted.recipe.name} leaves as "
            "it is (give --codec-bits)"
        )
    names = _Names(source.published_name)
    config = names.claim("config.json" if source.lm else MIMI_CONFIG, "the config")
    lm: Weights[MultistreamLM] | None = None
    copied: dict[str, Path] = {}
    modules: dict[str, dict[str, int]] = {}
    if source.lm:
        source.file("config.json")
        lm = _language_model(source, wanted, names)
        source.lm.load_tokenizer()  # refuses what is none
        if not source.lm.foreign:
            copied |= _copied(source, "tokenizer_name", names, "the tokenizer")
        modules |= _as_record(lm.target)
    codec, files = _codec(source, wanted, names)
    if lm:
        source.checkpoint.check_codec_fits(lm.target.config, codec.target.config)
    for part in (lm, codec):
        if part and specs_of(part.target) != specs_of(part.outline.model):
            part.outline.check_finite()  # which quantising would hide
    modules |= _as_record(codec.target)
    copied |= files
    made = _made(source, names)
    for name, path in voices.chosen(source, wanted.voices):
        copied[names.claim(name, f"the voice {path}")] = path
    return Plan(config, lm, None if codec.name in files else codec, copied, made, modules)


def _language_model(source: Source, wanted: Wanted, names: _Names) -> Weights[MultistreamLM]:
    dtype = DTYPES[wanted.dtype] if wanted.dtype else None
    outline = source.checkpoint.outline_lm(dtype)
    for path in outline.files.paths:
        source.own(path)
    if outline.lora and not source.checkpoint.given_lora:
        source.own(outline.lora.file.path)
    outline.tensors()  # refuses a file that does not fit its config
    outline.tell_unknown()
    target = MultistreamLM(outline.model.config)
    _quantize(outline, target, wanted.recipe, wanted.dequantize)
    name = _weights_name(target) if wanted.layout == "mlx" else _NAME
    return Weights(names.claim(name, "the weights"), outline, target)


def _codec(
    source: Source, wanted: Wanted, names: _Names
) -> tuple[Weights[MimiModel], dict[str, Path]]:
    """The codec, and what of its files is copied: its weights if they shall be as they are."""
    copied: dict[str, Path] = {}
    settings, foreign = source.checkpoint.config, source.checkpoint.foreign
    if foreign:
        for path in source.codec.files.paths:
            source.own(path)
    elif config := settings.get("mimi_config_name", str, None):
        if source.lm:
            copied |= _copied(source, "mimi_config_name", names, "the codec's config")
        else:  # it becomes the new folder's own
            source.file(config)
    outline = source.codec
    outline.tensors()
    target = MimiModel(outline.model.config)
    _quantize(outline, target, wanted.codec_recipe, wanted.dequantize)
    if foreign:
        outline.tell_unknown()
        name = names.claim(settings.get("mimi_name", str), "the codec")
        return Weights(name, outline, target), {}
    file = _copied(source, "mimi_name", names, "the codec")
    if specs_of(target) == specs_of(outline.model) and not wanted.codec_dtype:
        copied |= file
    else:
        outline.tell_unknown()
    return Weights(next(iter(file)), outline, target), copied


def _made(source: Source, names: _Names) -> dict[str, bytes]:
    """What a model in the Transformers layout has in a file of another kind."""
    if source.lm is None or not source.lm.foreign:
        return {}
    source.own(source.lm.tokenizer)
    codec = json.dumps(source.lm.foreign.codec, indent=1) + "\n"
    made = {"tokenizer_name": source.lm.sentencepiece(), "mimi_config_name": codec.encode()}
    config = source.lm.config
    return {
        names.claim(config.get(key, str), f"the {key[:-5]}"): data for key, data in made.items()
    }


def _copied(source: Source, key: str, names: _Names, what: str) -> dict[str, Path]:
    """A file that the config names, and that keeps its name."""
    name = source.checkpoint.config.get(key, str)
    path = source.file(name)
    return {names.claim(name, what): path}


def _quantize(outline: Outline, target: nn.Module, recipe: Recipe | None, dequantize: bool) -> None:
    """Make of `target`, unquantised, what its weights shall become."""
    blocks = target.config.transformer.layers
    modules = leaves(target)
    meant = recipe and any(recipe.meant(path, blocks) for path in modules)
    before = specs_of(outline.model)
    if before and meant and not dequantize:
        raise CheckpointError(
            f"{named(outline.path)}: is quantised already, and quantising it anew loses more "
            "(convert its original, or give --dequantize as well)"
        )
    if before and not dequantize:
        nn.quantize(target, class_predicate=predicate(lambda path, _: before.get(path)))
    elif recipe and meant:
        recipe.quantize(target, blocks)


def _weights_name(model: MultistreamLM) -> str:
    """As moshi_mlx expects it, where everything is quantised as it expects it.

    It does not quantise all tables of a text-to-speech model, and we do.
    """
    if model.config.depth:
        return _NAME
    specs = {spec_of(module) for module in leaves(model).values()}
    return _KNOWN_NAMES.get(specs.pop(), _NAME) if len(specs) == 1 else _NAME


def _as_record(model: nn.Module) -> dict[str, dict[str, int]]:
    table: dict[str, Counter[str]] = {}
    for path, module in leaves(model).items():
        if part := role(path, model.config.transformer.layers):
            table.setdefault(part, Counter())[str(spec_of(module) or "not quantised")] += 1
    return {part: dict(counts) for part, counts in table.items()}


class _Names:
    """Which file of the new folder is what; two things of one name are refused."""

    def __init__(self, source: str):
        self._source = source
        self._claims: dict[tuple[str, ...], tuple[str, str]] = {}

    def claim(self, name: str, what: str) -> str:
        """Reserve a name; returns it without such parts as "./".

        A file system may not tell "A" from "a", or one way to write an accent from another.
        """
        path = PurePosixPath(name)
        parts = PurePosixPath(unicodedata.normalize("NFC", str(path)).casefold()).parts
        for others, (other_name, other) in self._claims.items():
            short = min(len(parts), len(others))
            if parts[:short] == others[:short]:  # the same, or one would be the folder of the other
                both = shown(name)
                if name != other_name:
                    both = f"{shown(other_name)} and {both}"
                raise CheckpointError(
                    f"{named(self._source)}: {cut(other, 200)} and {cut(what, 200)} would be "
                    f"written to one file, {both}"
                )
        self._claims[parts] = name, what
        return str(path)
