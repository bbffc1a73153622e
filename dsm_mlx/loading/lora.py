"""LoRA: narrow matrices beside a model's weights, added to them while loading.

Reference: `replace_lora_with_linear` in moshi/modules/lora.py and `get_lora_moshi` in
models/loaders.py. W becomes W + scaling * (B @ A), each of the three rounded to the model's type.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.checks import check_path
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import hub, network, safetensors, weight_map
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.tensors import TensorFiles
from dsm_mlx.files.weight_map import WeightMap
from dsm_mlx.lm.conditioning import WIDEST
from dsm_mlx.loading.weights import check_finite
from dsm_mlx.messages import cut, listed, named, shown

_SCALING, _LARGEST = 2.0, 1e6  # of the reference, where a config names none
_HALF = re.compile(r"(.+)\.lora_([AB])\.weight")
_STEP = re.compile(r"(.+\.)(in|out)_projs\.(\d{1,4})")
_KEPT = "condition_provider."  # stays float32 whatever the dtype

Pair = tuple[str, str]
"""The names of a down projection A (rank, in) and its up projection B (out, rank)."""


@dataclass(frozen=True)
class LoraFile:
    """Where a LoRA lies, and what its config says. rank: None takes what the file has."""

    path: Path
    scaling: float
    rank: int | None

    @classmethod
    def given(cls, name: str | os.PathLike[str], config: ConfigReader) -> LoraFile:
        """A file, or `hf://owner/repository/path`. Scaling and rank are those of the config.json
        beside it if that has any, else those of the model's config.

        Raises:
            CheckpointError: there is no such file.
            TypeError, ValueError: it cannot be a path.
        """
        name = check_path("lora", name)
        if name.startswith("hf://"):
            path = hub.linked(name, "lora")
            with suppress(network.NoFile):
                hub.linked(f"hf:/{PurePosixPath(name[4:]).parent}/{hub.CONFIG}", "lora")
        else:
            path = Path(os.path.expanduser(name))
        if not os.path.isfile(path):
            raise CheckpointError(f"lora {shown(name)}: no such file")
        if os.path.isfile(path.parent / hub.CONFIG):
            beside = ConfigReader.read(path.parent / hub.CONFIG)
            if beside.values.keys() & {"lora", "lora_rank", "lora_scaling"}:
                config = beside
        return cls(path, *_shape(config))

    @classmethod
    def of_config(cls, config: ConfigReader, files: hub.Files) -> LoraFile | None:
        """That of a model's own config; None if it has none."""
        name = config.get("lora_name", str, None)
        if not config.get("lora", bool, False):
            if name is not None:
                raise config.error("lora_name", f"is {shown(name)}, but 'lora' is not true")
            return None
        if name is None:
            raise config.error("lora", "is true, but 'lora_name' names no file (give one: --lora)")
        return cls(files.get(name), *_shape(config))


def _shape(config: ConfigReader) -> tuple[float, int | None]:
    scaling = config.number("lora_scaling", -_LARGEST, _LARGEST, _SCALING)
    return scaling, config.integer("lora_rank", 1, WIDEST, None)


@dataclass(frozen=True)
class Lora:
    """A LoRA that fits a model, with nothing read yet but its header.

    pairs: the base's tensor, as published in the PyTorch layout -> what is added to it, for each of
        its blocks of rows.
    whole: tensors that stand in the place of the base's.
    published: the model's PyTorch layout. dtype: in which it is fused; None: that of each weight.
    adaptable: how many tensors of the base could have a LoRA.
    """

    file: LoraFile
    header: safetensors.Header
    pairs: dict[str, list[Pair]]
    whole: tuple[str, ...]
    published: WeightMap
    dtype: mx.Dtype | None
    adaptable: int

    @classmethod
    def of(
        cls, file: LoraFile, model: nn.Module, published: WeightMap, dtype: mx.Dtype | None
    ) -> Lora:
        """CheckpointError unless every tensor of the file has its place in `model`, which must not
        be quantised."""
        header = safetensors.read_header(file.path)
        linear = linear_files(model, published)
        halves, others = _halves(header)
        pairs = {
            tensor: [(found.get("A", ""), found.get("B", "")) for _, found in sorted(sets.items())]
            for tensor, sets in halves.items()
        }
        problems = list(_problems(header, halves, linear, file.rank))
        shapes = weight_map.expected_shapes(published)
        for name in others:
            if name not in shapes:
                problems.append(f"unexpected: {cut(name, 80)}")
            elif (found := header.shapes[name]) != shapes[name]:
                expected = list(shapes[name])
                problems.append(f"misshapen: {name} is {shown(list(found))}, expected {expected}")
        if not pairs:
            problems.insert(0, "no tensor is called *.lora_A.weight")
        for name, info in header.tensors.items():
            if info.dtype not in safetensors.FLOATS:
                problems.append(f"mistyped: {cut(name, 80)} is {info.dtype}")
        if problems:
            raise CheckpointError(f"{named(file.path)}: no LoRA of this model: {listed(problems)}")
        return cls(file, header, pairs, tuple(others), published, dtype, len(linear))

    @property
    def about(self) -> str:
        """In a line, what it changes."""
        count = f"{len(self.pairs)} of {self.adaptable} tensors"
        whole = f", {len(self.whole)} replaced" if self.whole else ""
        return f"fused into {count}{whole}, scaling {self.file.scaling:g}"

    def fuse(self, tensors: dict[str, mx.array], layout: WeightMap) -> dict[str, mx.array]:
        """The base's tensors, which lie as `layout` says, with the LoRA in them. Lazy."""
        own = TensorFiles((self.file.path,)).load()
        changed = {*self.pairs, *self.whole}
        if changed <= tensors.keys():  # the base lies as it is published
            return tensors | {file: self._fused(file, tensors[file], own) for file in changed}
        parameters = weight_map.load(layout, tensors)
        new: dict[str, mx.array] = {}
        for group in self.published:
            if changed.isdisjoint(group.files):
                continue
            old = group.save(*(parameters[name] for name in group.names))
            fused = [self._fused(*item, own) for item in zip(group.files, old, strict=True)]
            new |= zip(group.names, group.load(*fused), strict=True)
        parameters |= new
        touched = [group for group in layout if not new.keys().isdisjoint(group.names)]
        return tensors | weight_map.save(touched, parameters)

    def check_finite(self) -> None:
        """CheckpointError for a tensor that is not finite; only one at a time is in memory."""
        check_finite(TensorFiles((self.file.path,)).load(), self.file.path)

    def _fused(self, file: str, weight: mx.array, own: dict[str, mx.array]) -> mx.array:
        if file in self.whole:
            weight = own[file].astype(weight.dtype)
        pairs = self.pairs.get(file)
        if not pairs:
            return weight
        dtype = weight.dtype if self.dtype is None or file.startswith(_KEPT) else self.dtype
        blocks = mx.split(weight, len(pairs)) if len(pairs) > 1 else [weight]
        if len(pairs) == 1:  # it may be joined as its weight is
            down, up = (own[name] for name in pairs[0])
            count = down.shape[0] // up.shape[1]
            blocks = mx.split(weight, count) if count > 1 else blocks
            halves = list(zip(mx.split(down, count), mx.split(up, count), strict=True))
        else:
            halves = [(own[down], own[up]) for down, up in pairs]
        done = [
            _added(block, *half, self.file.scaling, dtype)
            for block, half in zip(blocks, halves, strict=True)
        ]
        return mx.concatenate(done) if len(done) > 1 else done[0]


def _added(
    weight: mx.array, down: mx.array, up: mx.array, scaling: float, dtype: mx.Dtype
) -> mx.array:
    """weight + scaling * (up @ down), rounded to `dtype` where the reference does, computed in
    float32: of narrower types MLX's own product on a CPU is slow."""

    def rounded(array: mx.array) -> mx.array:
        return array.astype(dtype).astype(mx.float32)

    product = rounded(rounded(up) @ rounded(down))
    return (rounded(weight) + rounded(product * scaling)).astype(dtype)


def linear_files(model: nn.Module, published: WeightMap) -> dict[str, tuple[tuple[int, ...], int]]:
    """The tensors of linear maps, which can have a LoRA: shape, and how many sets of weights lie
    one below another in it."""
    modules = dict(model.named_modules())
    return {
        file: (shape, len(group.names) if _is_numbered(group.names[0]) else 1)
        for group in published
        for file, shape in group.files.items()
        if isinstance(modules.get(group.names[0].rpartition(".")[0]), nn.Linear)
    }


def _is_numbered(parameter: str) -> bool:
    return parameter.rsplit(".", 2)[1].isdecimal()


def _halves(header: safetensors.Header) -> tuple[dict[str, dict[int, dict[str, str]]], list[str]]:
    """The base's tensor -> block of its rows -> "A" and "B" -> name; and the other names."""
    halves: dict[str, dict[int, dict[str, str]]] = {}
    others = []
    for name in header.tensors:
        match = _HALF.fullmatch(name)
        if match is None:
            others.append(name)
            continue
        tensor, block = _tensor_of(match[1])
        halves.setdefault(tensor, {}).setdefault(block, {})[match[2]] = name
    return halves, others


def _tensor_of(module: str) -> tuple[str, int]:
    """Which tensor of the base a module's LoRA changes, and which block of its rows.

    The reference joins what its attention keeps apart for each step; a LoRA may be either way.
    """
    block = 0
    if match := _STEP.fullmatch(module):
        module, block = f"{match[1]}{match[2]}_proj", int(match[3])
    return (f"{module}_weight" if module.endswith(".in_proj") else f"{module}.weight"), block


def _problems(
    header: safetensors.Header, halves: dict, linear: dict, rank: int | None
) -> Iterator[str]:
    for tensor, blocks in halves.items():
        if tensor not in linear:
            names = (name for found in blocks.values() for name in found.values())
            yield from (f"unexpected: {cut(name, 80)}" for name in names)
            continue
        (outputs, inputs), sets = linear[tensor]
        count = sets if max(blocks) else 1  # kept apart for each set of weights, or joined
        for block in range(count):
            found = blocks.pop(block, {})
            for half in {"A", "B"} - found.keys():
                yield f"missing: lora_{half} for {tensor}" + f", set {block}" * (count > 1)
            if len(found) < 2:
                continue
            up = header.shapes[found["B"]]
            own = rank or (up[1] if len(up) == 2 else 0) or 1
            expected = {"A": (sets // count * own, inputs), "B": (outputs // count, own)}
            for half, right in expected.items():
                if (given := header.shapes[found[half]]) != right:
                    told = shown(list(given))
                    yield f"misshapen: {found[half]} is {told}, expected {list(right)}"
        for found in blocks.values():
            yield from (f"unexpected: {cut(name, 80)}" for name in found.values())
