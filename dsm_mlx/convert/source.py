"""What is to be converted: a checkpoint, and what others know it by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.hub import HubFiles
from dsm_mlx.loading.checkpoint import MIMI, Checkpoint
from dsm_mlx.loading.outline import Outline
from dsm_mlx.messages import named


@dataclass(frozen=True)
class Source:
    """A checkpoint that is to be converted: a model, or a codec alone."""

    checkpoint: Checkpoint

    @classmethod
    def find(
        cls,
        name: str | Path,
        revision: str | None = None,
        kind: str | None = None,
        lora: str | Path | None = None,
    ) -> Source:
        """From a folder, its config.json, a hub id or a short name such as "tiny".

        kind: "stt" or "tts", which of the two models of a name is meant; None takes what there
            is, and of "tiny" the one that hears.
        lora: a LoRA that is fused into the model, see `LoraFile.given`.

        Raises:
            CheckpointError: there is no such thing, or it is neither a model nor a codec.
        """
        return cls(Checkpoint.find(name, kind, revision, lora))

    @property
    def kind(self) -> str:
        """ "stt", "tts" or "codec"."""
        return self.checkpoint.kind

    @property
    def lm(self) -> Checkpoint | None:
        """The checkpoint if it has a language model; None for a codec alone."""
        return None if self.checkpoint.codec_alone else self.checkpoint

    @cached_property
    def codec(self) -> Outline[MimiModel]:
        """The codec without its weights. CheckpointError if it is damaged or not there."""
        return self.checkpoint.outline_mimi()

    @property
    def codec_values(self) -> dict:
        """The codec's config as it stands in its file; empty for the official Mimi."""
        config = self.checkpoint.mimi_config
        return dict(config.values) if config else {}

    @property
    def folder(self) -> Path:
        """Where its files lie on this machine."""
        file = "config.json" if self.lm or self.checkpoint.foreign else MIMI
        return self.checkpoint.files.get(file).parent.resolve()

    def file(self, name: str) -> Path:
        """The file of that name, which is in the source itself.

        Raises:
            CheckpointError: there is none, or it is a link to something elsewhere.
        """
        return self.own(self.checkpoint.files.get(name))

    def own(self, path: Path) -> Path:
        """`path`, a file of the source, if no link leads from there to another place.

        What a stranger has packed into a folder must not end in a new one that may be published.
        The hub's cache is made of links to its own store, and they are followed.
        """
        files, real = self.checkpoint.files, path.resolve()
        if isinstance(files, HubFiles):
            return path
        homes = [folder.resolve() for folder in (files.folder, files.shared) if folder]
        homes += [home.parents[1] / "blobs" for home in homes if home.parent.name == "snapshots"]
        if not any(real.is_relative_to(home) for home in homes):
            raise CheckpointError(
                f"{named(path)}: is a link to {named(real)}, out of the source's folder, which is "
                "not followed (put the file itself there)"
            )
        return path

    @property
    def published_name(self) -> str:
        """What others know it by: the hub's name, or a folder's without the path to it."""
        files = self.checkpoint.files
        if isinstance(files, HubFiles) or files.bundled:
            return files.name
        return files.folder.resolve().name

    @cached_property
    def commit(self) -> str | None:
        """The revision of a hub repository, as the cache has it."""
        files = self.checkpoint.files
        if not isinstance(files, HubFiles):
            return None
        parts = files.get("config.json").parts
        if "snapshots" in parts[:-2]:
            return parts[parts.index("snapshots") + 1]
        return files.revision
