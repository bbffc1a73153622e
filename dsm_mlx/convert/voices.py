"""The voices that go with a text-to-speech model."""

from __future__ import annotations

from pathlib import Path

from dsm_mlx.convert.source import Source
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.hub import LocalFiles, safe_name
from dsm_mlx.loading.voices import read_embedding


def beside(source: Source) -> list[str]:
    """Names of the voices in a model's own folder. A repository's are a repository of their own."""
    if source.kind != "tts" or not isinstance(source.files, LocalFiles):
        return []
    suffix = source.voices.suffix
    parts = {source.mimi, source.lm.config.get("moshi_name", str, "model.safetensors")}
    return [name for name in source.voices.names() if name + suffix not in parts]


def chosen(source: Source, wanted: list[str] | None) -> dict[str, Path]:
    """The name in the new folder -> the file, for each voice that is to be taken along.

    wanted: names of the source's voices, files, or `hf://owner/repository/path`; None takes all
        that lie beside the model.

    Raises:
        CheckpointError: a voice that is not there or was made for another model.
    """
    if wanted and source.kind != "tts":
        raise CheckpointError(f"{source.published_name}: has no voices (it is {source.kind})")
    names = beside(source) if wanted is None else wanted
    files = {}
    for name in names:
        path = source.voices.find(name)
        if source.voice_width:
            read_embedding(path, source.voice_width, source.identity)
        files[_name_for(name, path, source)] = path
    return files


def _name_for(name: str, path: Path, source: Source) -> str:
    """A voice of the source keeps its name; any other is called as its file, for this model."""
    suffix = source.voices.suffix
    if name in beside(source):
        return safe_name(name + suffix, source.published_name)
    if path.name.endswith(suffix):
        return path.name
    return path.name.removesuffix(".safetensors") + suffix
