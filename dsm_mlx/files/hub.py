"""A model's name -> its files: in a folder, bundled, or in a repository of the Hugging Face hub."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import network
from dsm_mlx.messages import named, shown

log = logging.getLogger("dsm_mlx")

BUNDLED = Path(__file__).parent.parent / "tiny"
BUNDLED_VOICE = BUNDLED / "tts"  # codec and tokenizer are those of BUNDLED
CONFIG = "config.json"

# Short names stand for the repository that can do most: of the two 1B repositories in PyTorch
# layout only "-candle" has the pause heads.
REPOSITORIES = {
    "stt-1b": "kyutai/stt-1b-en_fr-candle",
    "stt-2.6b": "kyutai/stt-2.6b-en",
    "tts-1.6b": "kyutai/tts-1.6b-en_fr",
    "tts-0.75b": "kyutai/tts-0.75b-en-public",
}

_NAMES = ("tiny", *REPOSITORIES)

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
NAMED = ("mimi_name", "mimi_config_name", "tokenizer_name", "lora_name")


@dataclass(frozen=True)
class LocalFiles:
    """A folder of files. shared: a folder with what this one lacks."""

    folder: Path
    shared: Path | None = None

    @property
    def bundled(self) -> bool:
        """Whether it is one of those that come with the package."""
        return self.folder in (BUNDLED, BUNDLED_VOICE)

    @property
    def name(self) -> str:
        """What messages call it: "tiny", or the folder's path."""
        return "tiny" if self.bundled else str(self.folder)

    def has(self, file: str) -> bool:
        """Whether there is a file of that name, which is not one out of a config."""
        return os.path.isfile(self.folder / file)

    def get(self, file: str) -> Path:
        """Where a file of that name is. `NoFile` if there is none."""
        file = safe_name(file, self.name)
        for folder in filter(None, (self.folder, self.shared)):
            if os.path.isfile(folder / file):
                return folder / file
        raise network.NoFile(f"{named(self.folder)}: has no file {shown(file)}")


@dataclass(frozen=True)
class HubFiles:
    """A repository on the hub. Files that are in the cache are used without any network call.

    offline: the hub is not asked for others; they are as if there were none of them.

    Making one for a name or a revision that cannot be is a CheckpointError.
    """

    repository: str
    revision: str | None = None
    offline: bool = False
    bundled = False

    def __post_init__(self):
        network.check_names(self.repository, self.revision)

    @property
    def name(self) -> str:
        """What messages call it: the repository's name."""
        return self.repository

    def has(self, file: str) -> bool:
        """Whether there is a file of that name in the cache."""
        return self._cached(file) is not None

    def _cached(self, file: str) -> Path | None:
        return network.cached(self.repository, file, self.revision)

    def get(self, file: str) -> Path:
        """Where a file of that name is, fetched first if need be. CheckpointError if it cannot be
        had, of which `NoFile` says that there is none."""
        file = safe_name(file, self.name)
        if self.offline:
            if found := self._cached(file):
                return found
            raise network.NoFile(f"{self.repository}: {shown(file)} is not on this machine")
        try:
            return network.download(self.repository, file, self.revision)
        except network.NoRepository as error:
            known = {name for names in PREFERRED.values() for name in names}
            raise CheckpointError(f"{error}{did_you_mean(self.repository, known)}") from None


Files = LocalFiles | HubFiles


def first_of(files: Files, names: Sequence[str]) -> Path:
    """The first of these files that is on this machine, else the first that there is.

    Raises:
        NoFile: there is none of them.
        CheckpointError: it cannot be asked whether there is.
    """
    for name in names:
        if files.has(name):
            return files.get(name)
    *others, last = names
    for name in others:
        with suppress(network.NoFile):
            return files.get(name)
    return files.get(last)


def linked(link: str, what: str) -> Path:
    """The file of `hf://owner/repository/path`. what: what an error calls it."""
    owner, _, rest = link.removeprefix("hf://").partition("/")
    repository, _, file = rest.partition("/")
    if not file:
        raise CheckpointError(f"{what} {shown(link)}: expected hf://owner/repository/path")
    return HubFiles(f"{owner}/{repository}").get(file)


def locate(
    model: str | os.PathLike | None,
    kind: str,
    revision: str | None = None,
    mark: Iterable[str] = (CONFIG,),
) -> Files:
    """Where the files of `model` are.

    model: a folder or its config.json, a hub id, a short name, or None for the best model of
        `kind` ("stt" or "tts") that is on this machine, else the bundled one; None never
        downloads anything.
    mark: files by any of which a folder is known, so that it wins over a short name that is
        spelt as it is.

    Raises:
        CheckpointError: there is no such thing.
        TypeError: `model` or `revision` is not of a type that it can be.
    """
    if revision is not None and not isinstance(revision, str):
        raise TypeError(f"revision is {shown(revision)} (expected a string or None)")
    if model is None:
        files = best_local(kind)
        if not files.bundled:  # of which loading tells, and what it can do
            log.info("using model %s", files.name)
        return files
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else model
    if not isinstance(name, str):
        raise TypeError(f"model is {shown(model)} (expected a folder, a name, or None)")
    path = os.path.expanduser(name)
    if name in _NAMES and not any(os.path.isfile(os.path.join(path, file)) for file in mark):
        return _bundled(kind) if name == "tiny" else HubFiles(REPOSITORIES[name], revision)
    if os.path.isdir(path):
        return LocalFiles(Path(path))
    if os.path.isfile(path):
        if os.path.basename(path) == CONFIG:
            return LocalFiles(Path(path).parent)
        raise CheckpointError(f"{named(path)}: expected a folder or its {CONFIG}")
    if _looks_like_repository(name):
        return HubFiles(name, revision)
    raise CheckpointError(
        f"model {shown(name)}: no such folder, and not a name I know{did_you_mean(name, _NAMES)} "
        f"(expected a folder, a hub id such as kyutai/stt-1b-en_fr-mlx, or one of "
        f"{', '.join(_NAMES)})"
    )


def did_you_mean(name: str, known: Iterable[str], likeness: float = 0.7) -> str:
    """What a message says after a name that is not among those `known`; "" if none is near.

    likeness: of names that are near, 0 to 1, as `difflib` has it.
    """
    plain = {entry.lower(): entry for entry in known}
    near = difflib.get_close_matches(name[:200].lower(), plain, n=2, cutoff=likeness)
    return f"; did you mean {' or '.join(shown(plain[entry]) for entry in near)}?" if near else ""


def safe_name(file: str, owner: str) -> str:
    """`file` if it stays inside its folder; names in a config are not to be trusted."""
    if not stays_inside(file):
        raise network.NoFile(
            f"{named(owner)}: {shown(file)} is not the name of a file in its folder"
        )
    return file


def stays_inside(file: str) -> bool:
    """Whether this names a file in a folder, on any system; where a link leads is not looked at."""
    path = PurePosixPath(file)
    parts = bool(file) and not path.is_absolute() and ".." not in path.parts
    return parts and not set(file) & set("\\:\0")


def _looks_like_repository(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(p and not p.startswith((".", "~")) for p in parts)


def best_local(kind: str) -> Files:
    """The best model of `kind` that is on this machine, else the bundled one."""
    for repository in PREFERRED[kind]:
        if is_cached(repository):
            return HubFiles(repository)
    return _bundled(kind)


def _bundled(kind: str) -> Files:
    return LocalFiles(BUNDLED_VOICE, BUNDLED) if kind == "tts" else LocalFiles(BUNDLED)


def bundled() -> tuple[Files, Files]:
    """What comes with the package: the model that hears, and the one that speaks."""
    return _bundled("stt"), _bundled("tts")


def short_name(repository: str) -> str:
    """What people call a repository by: its short name if it has one."""
    return next((name for name, full in REPOSITORIES.items() if full == repository), repository)


def is_cached(repository: str) -> bool:
    """Whether the cache holds the config and all files it names, so that nothing is downloaded."""
    from dsm_mlx.files.config_reader import ConfigReader

    found = network.cached(repository, CONFIG)
    if found is None:
        return False
    config = ConfigReader.read(found)
    names = [config.get("moshi_name", str, "model.safetensors")]
    names += [config.get(key, str, None) for key in NAMED]
    return all(
        network.cached(repository, safe_name(name, repository))
        for name in names
        if name is not None
    )
