"""A model's name -> its files: in a folder, bundled, or in a repository of the Hugging Face hub."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dsm_mlx.errors import CheckpointError

log = logging.getLogger("dsm_mlx")

BUNDLED = Path(__file__).parent.parent / "tiny"
BUNDLED_VOICE = BUNDLED / "tts"  # codec and tokenizer are those of BUNDLED

# Short names stand for the repository that can do most: of the two 1B repositories in PyTorch
# layout only "-candle" has the pause heads.
REPOSITORIES = {
    "stt-1b": "kyutai/stt-1b-en_fr-candle",
    "stt-2.6b": "kyutai/stt-2.6b-en",
    "tts-1.6b": "kyutai/tts-1.6b-en_fr",
    "tts-0.75b": "kyutai/tts-0.75b-en-public",
}

# What `model=None` looks for in the cache, best first.
PREFERRED = {
    "stt": [
        "kyutai/stt-1b-en_fr-candle",
        "kyutai/stt-1b-en_fr-mlx",
        "kyutai/stt-1b-en_fr",
        "kyutai/stt-2.6b-en",
        "kyutai/stt-2.6b-en-mlx",
    ],
    "tts": ["kyutai/tts-1.6b-en_fr", "kyutai/tts-0.75b-en-public"],
}

# Besides the weights, what a config names.
_NAMED = ("mimi_name", "mimi_config_name", "tokenizer_name")


@dataclass(frozen=True)
class LocalFiles:
    """A folder of files. shared: a folder with what this one lacks."""

    folder: Path
    shared: Path | None = None

    @property
    def bundled(self) -> bool:
        return self.folder in (BUNDLED, BUNDLED_VOICE)

    @property
    def name(self) -> str:
        return "tiny" if self.bundled else str(self.folder)

    def get(self, file: str) -> Path:
        file = safe_name(file, self.name)
        for folder in filter(None, (self.folder, self.shared)):
            if (folder / file).is_file():
                return folder / file
        raise CheckpointError(f"{self.folder}: has no file {file!r}")


@dataclass(frozen=True)
class HubFiles:
    """A repository on the hub. Files that are in the cache are used without any network call."""

    repository: str
    revision: str | None = None
    bundled = False

    @property
    def name(self) -> str:
        return self.repository

    def get(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        file = safe_name(file, self.name)
        try:
            return Path(
                hf_hub_download(
                    self.repository, file, revision=self.revision, local_files_only=True
                )
            )
        except LocalEntryNotFoundError:
            pass
        try:
            log.info("downloading %s from %s", file, self.repository)
            return Path(hf_hub_download(self.repository, file, revision=self.revision))
        except Exception as error:  # the hub's client raises many unrelated types
            raise CheckpointError(
                f"{self.repository}: cannot get {file!r} from the Hugging Face hub "
                f"({_first_line(error)})"
            ) from None


Files = LocalFiles | HubFiles


def locate(model: str | Path | None, kind: str, revision: str | None = None) -> Files:
    """Where the files of `model` are.

    model: a folder or its config.json, a hub id, a short name, or None for the best model of
        `kind` ("stt" or "tts") that is on this machine, else the bundled one; None never
        downloads anything.
    """
    if model is None:
        files = best_local(kind)
        log.info("using model %s", files.name)
        return files
    if str(model) == "tiny":
        return _bundled(kind)
    if str(model) in REPOSITORIES:
        return HubFiles(REPOSITORIES[str(model)], revision)
    path = Path(model).expanduser()
    if path.is_dir():
        return LocalFiles(path)
    if path.is_file():
        if path.name == "config.json":
            return LocalFiles(path.parent)
        raise CheckpointError(f"{path}: expected a folder or its config.json")
    if _looks_like_repository(str(model)):
        return HubFiles(str(model), revision)
    raise CheckpointError(
        f"model {str(model)!r}: no such folder, and not a name I know "
        f"(expected a folder, a hub id such as kyutai/stt-1b-en_fr-mlx, or one of "
        f"{', '.join(['tiny', *REPOSITORIES])})"
    )


def safe_name(file: str, owner: str) -> str:
    """`file` if it stays inside its folder; names in a config are not to be trusted."""
    path = PurePosixPath(file)
    if not file or path.is_absolute() or ".." in path.parts or "\\" in file or ":" in file:
        raise CheckpointError(f"{owner}: {file!r} is not the name of a file in its folder")
    return file


def _looks_like_repository(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(p and not p.startswith((".", "~")) for p in parts)


def best_local(kind: str) -> Files:
    """The best model of `kind` that is on this machine, else the bundled one."""
    for repository in PREFERRED[kind]:
        if _is_cached(repository):
            return HubFiles(repository)
    return _bundled(kind)


def _bundled(kind: str) -> Files:
    return LocalFiles(BUNDLED_VOICE, BUNDLED) if kind == "tts" else LocalFiles(BUNDLED)


def _is_cached(repository: str) -> bool:
    """Whether the cache holds the config and all files it names, so that nothing is downloaded."""
    from huggingface_hub import try_to_load_from_cache

    from dsm_mlx.files.config_reader import ConfigReader

    def cached(file: str) -> str | None:
        path = try_to_load_from_cache(repository, file)
        return path if isinstance(path, str) else None

    found = cached("config.json")
    if found is None:
        return False
    config = ConfigReader.read(Path(found))
    names = [config.get("moshi_name", str, "model.safetensors")]
    names += [config.get(key, str, None) for key in _NAMED]
    return all(cached(safe_name(name, repository)) for name in names if name is not None)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
