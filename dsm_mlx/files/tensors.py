"""The tensors of one model, which may be spread over several safetensors files or share one."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import safetensors
from dsm_mlx.files.safetensors import Header, TensorInfo
from dsm_mlx.messages import cut, named, shown


@dataclass(frozen=True)
class TensorFiles:
    """prefix: what the names of this model's tensors begin with in the files, and no more here.
    others: names that begin so are another model's."""

    paths: tuple[Path, ...]
    prefix: str = ""
    others: str | None = None

    @cached_property
    def header(self) -> Header:
        """CheckpointError for a file that is damaged, or a tensor that stands in two of them."""
        tensors: dict[str, TensorInfo] = {}
        metadata: dict[str, str] = {}
        for path in self.paths:
            found = safetensors.read_header(path)
            for name, info in found.tensors.items():
                if (own := self._own(name)) is None:
                    continue
                if own in tensors:
                    raise CheckpointError(f"{named(path)}: {shown(own)} is in another file, too")
                tensors[own] = info
            metadata |= found.metadata
        return Header(tensors, metadata)

    @property
    def nbytes(self) -> int:
        """Of the files, or of this model's tensors in them."""
        if self.prefix or self.others:
            return sum(info.nbytes for info in self.header.tensors.values())
        return sum(path.stat().st_size for path in self.paths)

    def load(self) -> dict[str, mx.array]:
        """The tensors, lazy."""
        return {
            own: array
            for path in self.paths
            for name, array in _load(path).items()
            if (own := self._own(name)) is not None
        }

    def _own(self, name: str) -> str | None:
        if not name.startswith(self.prefix) or (self.others and name.startswith(self.others)):
            return None
        return name[len(self.prefix) :]


def load_safetensors(file: str | io.BytesIO) -> dict[str, mx.array]:
    """The tensors of a file, lazy. Raises what `mx.load` raises."""
    found = mx.load(file, format="safetensors")
    if not isinstance(found, dict):  # as it is for files of other kinds
        raise RuntimeError("no tensors by name")
    return found


def flat(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a tree, such as a module's parameters, with their paths."""
    leaves: list[tuple[str, Any]] = []
    tree_flatten(tree, destination=leaves)
    return leaves


def _load(path: Path) -> dict[str, mx.array]:
    try:
        with safetensors.name_for_mlx(path) as name:
            return load_safetensors(name)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{named(path)}: cannot be loaded ({cut(str(error), 100)})") from None
