"""A model as it lies in a file: every tensor accounted for before any is read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import safetensors, weight_map
from dsm_mlx.files.tensors import TensorFiles, flat
from dsm_mlx.loading.lora import Lora
from dsm_mlx.loading.weights import check_finite, materialise_pieces
from dsm_mlx.messages import cut, listed, named, shown
from dsm_mlx.runtime.worker import Pieces

log = logging.getLogger("dsm_mlx")

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")
_STORED = {mx.uint32: ("U32",), mx.uint8: ("U8",)}  # how parts of quantised weights lie in files


Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Outline(Generic[Model]):
    """A model as it lies in a file, with nothing read yet but the file's header.

    lora: what is added to the tensors when they are read.
    """

    files: TensorFiles
    model: Model
    layout: weight_map.WeightMap
    quantized: bool
    lora: Lora | None = None

    @property
    def path(self) -> Path:
        """The file, or the first of several."""
        return self.files.paths[0]

    @property
    def header(self) -> safetensors.Header:
        """What the files hold. CheckpointError for one that is damaged."""
        return self.files.header

    def tensors(self) -> dict[str, mx.array]:
        """The file's tensors, lazy. CheckpointError unless the model is whole with them."""
        problems = list(self._problems())
        if problems:
            raise CheckpointError(
                f"{named(self.path)}: does not fit its config: {listed(problems)}"
            )
        tensors = self.files.load()
        return self.lora.fuse(tensors, self.layout) if self.lora else tensors

    def _strays(self) -> tuple[list[str], list[str]]:
        """Tensors that the model does not have: such as it cannot do without, being more of what it
        has (a further layer, a bias), and such as are of no concern to it."""
        expected = weight_map.expected_shapes(self.layout)
        alike = {_NUMBER.sub("N", name) for name in expected}
        modules = {name.rpartition(".")[0] for name in expected}
        wanted: list[str] = []
        unknown: list[str] = []
        for name in self.header.tensors.keys() - expected.keys():
            more = _NUMBER.sub("N", name) in alike or name.rpartition(".")[0] in modules
            (wanted if more else unknown).append(name)
        return sorted(wanted), sorted(unknown)

    @property
    def unknown(self) -> list[str]:
        """The names of tensors that are of no concern to the model, which is whole without."""
        return self._strays()[1]

    def tell_unknown(self) -> None:
        """Warn of them, once for each time that the weights are wanted."""
        if names := self.unknown:
            count = f"{len(names)} tensors" if len(names) > 1 else "a tensor"
            log.warning(
                "%s: holds %s that the model does not have, left out: %s",
                *(named(self.path), count, listed([cut(name, 80) for name in names])),
            )

    def _problems(self) -> Iterator[str]:
        expected, found = weight_map.expected_shapes(self.layout), self.header.tensors
        for name, shape in expected.items():
            if name not in found:
                yield f"missing: {name} {list(shape)}"
        for name in self._strays()[0]:
            yield f"unexpected: {cut(name, 80)}"
        for name, shape in expected.items():
            if name in found and found[name].shape != shape:
                given = shown(list(found[name].shape))
                yield f"misshapen: {name} is {given}, expected {list(shape)}"
        parameters = dict(flat(self.model.parameters()))
        for group in self.layout:
            types = _STORED.get(parameters[group.names[0]].dtype, safetensors.FLOATS)
            for name in group.files:
                if name in found and found[name].dtype not in types:
                    yield f"mistyped: {name} is {found[name].dtype}, expected {' or '.join(types)}"

    def check_finite(self) -> None:
        """CheckpointError for a tensor that is not finite; only one at a time is in memory."""
        if self.lora:
            self.lora.check_finite()
        check_finite(self.tensors(), self.path)

    def read_into_model(self) -> None:
        """Give the model its weights, lazy still: `materialise` brings them into memory."""
        parameters = weight_map.load(self.layout, self.tensors())
        self.tell_unknown()
        self.model.load_weights(list(parameters.items()))

    def materialise(self, dtype: mx.Dtype, keep: tuple[str, ...] = ()) -> Pieces[None]:
        """See `materialise_pieces`. CheckpointError for a weight that is not finite."""
        name = yield from materialise_pieces(self.model, dtype, keep)
        if name is not None:
            raise CheckpointError(f"{named(self.path)}: {self._why_not_finite(name, dtype)}")

    def _why_not_finite(self, parameter: str, dtype: mx.Dtype) -> str:
        """Which tensor is to blame for a parameter that is not finite."""
        if self.lora:
            self.lora.check_finite()
        module = parameter.rpartition(".")[0]
        tensors = self.files.load()
        # Its own first: but it may have been made of others, too.
        for group in sorted(self.layout, key=lambda group: not _has(group, module)):
            for name in group.files:
                if not mx.isfinite(tensors[name]).all().item():
                    return f"{name} holds values that are not finite"
        return f"{parameter} has values too large for {str(dtype).rpartition('.')[2]}"


def _has(group: weight_map.Group, module: str) -> bool:
    return any(name.rpartition(".")[0] == module for name in group.names)
