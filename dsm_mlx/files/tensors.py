"""The tensors of one model, which may be spread over several safetensors files or share one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mlx.core as mx

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
            own = {self._own(name): info for name, info in found.tensors.items()}
            own.pop(None, None)
            for name in own:
                if name in tensors:
                    raise CheckpointError(f"{named(path)}: {shown(name)} is in another file, too")
            tensors |= own
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


def _load(path: Path) -> dict[str, mx.array]:
    try:
        with safetensors.name_for_mlx(path) as name:
            return mx.load(name, format="safetensors")
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{named(path)}: cannot be loaded ({cut(str(error), 100)})") from None
