"""The models on this machine, told without loading any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import hub, network
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.info import languages_of


@dataclass(frozen=True)
class LocalModel:
    """name: to load it by. kind: "stt" or "tts". bytes: of its files, codec and tokenizer included.
    folder: where they are."""

    name: str
    kind: str
    bytes: int
    languages: tuple[str, ...]
    folder: Path


def local_models() -> list[LocalModel]:
    """Those that can be loaded without the network: what is bundled, and what is in the cache of
    the hub. Nothing is downloaded, and folders of anybody's own are not looked for."""
    bundled = [_of(files) for files in hub.bundled()]
    cached = [_if_whole(repository) for repository in network.cached_repositories()]
    return bundled + [model for model in cached if model]


def _if_whole(repository: str) -> LocalModel | None:
    """None for what is something else, damaged, or not all there."""
    try:
        return _of(hub.HubFiles(repository, offline=True))
    except CheckpointError:
        return None


def _of(files: hub.Files) -> LocalModel:
    """CheckpointError for what is no model of ours."""
    checkpoint = Checkpoint.of(files, ConfigReader.read(files.get(hub.CONFIG)))
    if checkpoint.codec_alone:
        raise CheckpointError(f"{files.name}: a codec alone")
    checkpoint.config.get("mimi_name", str)
    paths = [path for path in checkpoint.paths if path.name != hub.CONFIG]
    return LocalModel(
        hub.short_name(files.name),
        checkpoint.kind,
        sum(path.stat().st_size for path in paths),
        languages_of(checkpoint.config),
        files.get(hub.CONFIG).parent,
    )
