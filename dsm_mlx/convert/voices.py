"""The voices that go with a text-to-speech model."""

from __future__ import annotations

from pathlib import Path

from dsm_mlx.convert.source import Source
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.hub import LocalFiles, safe_name
from dsm_mlx.lm.conditioning import ConditionersConfig
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER, Voices, model_identity, read_embedding
from dsm_mlx.messages import named


def beside(source: Source) -> list[str]:
    """Names of the voices in a model's own folder. A repository's are a repository of their own."""
    if source.kind != "tts" or not isinstance(source.checkpoint.files, LocalFiles):
        return []
    return Voices.of(source.checkpoint).names()


def chosen(source: Source, wanted: list[str] | None) -> list[tuple[str, Path]]:
    """The name in the new folder and the file, for each voice that is to be taken along.

    wanted: names of the source's voices, files, or `hf://owner/repository/path`; None takes all
        that lie beside the model. Of one that is named twice there is one.

    Raises:
        CheckpointError: a voice that is not there, is a link out of the source's folder, or was
            made for another model.
    """
    if wanted and source.kind != "tts":
        name = named(source.published_name)
        raise CheckpointError(f"{name}: has no voices (it is {source.kind})")
    known, voices = beside(source), Voices.of(source.checkpoint)
    files = []
    for name in known if wanted is None else wanted:
        own = name.removesuffix(voices.suffix)
        if own in known:
            target = safe_name(own + voices.suffix, source.published_name)
            path = source.file(target)
        else:
            path = voices.find(name)
            target = _name_for(path, voices.suffix)
        if not voices.clones:
            _check(path, source)
        files.append((target, path))
    return list({(target, path.resolve()): (target, path) for target, path in files}.values())


def _check(path: Path, source: Source) -> None:
    config = ConditionersConfig.read(source.checkpoint.config).by_name[SPEAKER_CONDITIONER]
    read_embedding(path, config.dim, model_identity(source.checkpoint))


def _name_for(path: Path, suffix: str) -> str:
    """A voice from elsewhere is called as its file, for this model."""
    if path.name.endswith(suffix):
        return path.name
    return path.name.removesuffix(".safetensors") + suffix
