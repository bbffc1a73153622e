"""What may be replaced: a checkpoint of ours or Kyutai's, in a folder that holds nothing else."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.hub import NAMED
from dsm_mlx.loading.checkpoint import MIMI, MIMI_CONFIG
from dsm_mlx.messages import cut, named

# What every config of a model has.
_FIELDS = {
    *("dim", "num_heads", "num_layers", "context", "text_card", "card", "n_q", "dep_q", "delays"),
    *("mimi_name", "tokenizer_name"),
}
_PUBLISHED = {"README.md", "LICENSE", ".gitattributes"}  # beside the files of a repository
_BY_SYSTEMS = (".DS_Store",)
_BY_THE_HUB = ".cache/huggingface"  # where its client puts notes on what it has downloaded
_SHOWN = 5


def check_replaceable(folder: Path, overwrite: bool) -> None:
    """FileExistsError unless everything in a folder was written by a conversion or a download.

    A converted folder lists its files in its config. Of a published one those belong to it that
    its config names, and what a repository has beside them; not voices, which nothing tells from
    those that a user has put there.
    """
    if not overwrite:
        raise FileExistsError(
            f"{named(folder)}: exists already (give another folder, or --overwrite)"
        )
    if not folder.is_dir():
        raise FileExistsError(f"{named(folder)}: is not a folder, so it is not replaced")
    files = _contents(folder)
    known = _known(folder)
    if files and not known:
        raise FileExistsError(
            f"{named(folder)}: is not the folder of a checkpoint, so it is not replaced"
        )
    if strange := sorted(file for file in files if not _belongs(file, known)):
        more = f" and {len(strange) - _SHOWN} more" if len(strange) > _SHOWN else ""
        names = cut(", ".join(strange[:_SHOWN]), 200)
        raise FileExistsError(
            f"{named(folder)}: holds {names}{more} beside a checkpoint, so it is "
            "not replaced (move away what you want to keep, or give another folder)"
        )


def _contents(folder: Path) -> set[str]:
    """The files, links and empty folders in a folder, at any depth."""
    found = set()
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        here = [Path(place, name) for name in files + links]
        if not (files or folders) and Path(place) != folder:
            here.append(Path(place))
        found |= {path.relative_to(folder).as_posix() for path in here}
    return found


def _belongs(file: str, known: set[str]) -> bool:
    path = PurePosixPath(file)
    return file in known or path.name in _BY_SYSTEMS or path.is_relative_to(_BY_THE_HUB)


def _known(folder: Path) -> set[str]:
    """The names of all files of the checkpoint in a folder; empty if there is none."""
    names: list[object]  # a config may have anything in their place
    if (folder / "config.json").is_file():
        values = _values(folder / "config.json")
        if not values.keys() >= _FIELDS:
            return set()
        named_ones = [values.get(key) for key in ("moshi_name", *NAMED)]
        names = ["config.json", "model.safetensors", *named_ones]
        model_id = values.get("model_id")
        record = model_id.get("conversion") if isinstance(model_id, dict) else None
    elif (folder / MIMI).is_file():
        names = [MIMI, MIMI_CONFIG]
        record = _values(folder / MIMI_CONFIG).get("conversion")
    else:
        return set()
    written = record.get("sha256") if isinstance(record, dict) else None
    names += written if isinstance(written, dict) else _PUBLISHED
    return {str(PurePosixPath(name)) for name in names if isinstance(name, str)}


def _values(path: Path) -> dict:
    try:
        return ConfigReader.read(path).values
    except CheckpointError:
        return {}
