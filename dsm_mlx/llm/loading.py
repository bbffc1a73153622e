"""A language model's name to weights and tokenizer, by mlx-lm, one tensor a turn."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import LARGE, ConfigReader
from dsm_mlx.files.hub import CONFIG, HubFiles
from dsm_mlx.files.network import snapshot
from dsm_mlx.files.tensors import flat
from dsm_mlx.loading.core import of_file, shared
from dsm_mlx.loading.weights import bring_in
from dsm_mlx.messages import cut, named, reason, shown
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.device import free_memory, limit_memory_once
from dsm_mlx.runtime.worker import Pieces

log = logging.getLogger("dsm_mlx")

_INDEX = "model.safetensors.index.json"
_WEIGHTS = "model*.safetensors"  # as mlx-lm looks for them
_WANTED = (_WEIGHTS, "*.json", "*.jinja", "*.txt", "tokenizer.model", "*.tiktoken")


class LanguageModel:
    """What was loaded of one, to be shared. net: mlx-lm's module; for the worker's thread alone.
    tokenizer: mlx-lm's `TokenizerWrapper`."""

    def __init__(self, name: str, net: Any, tokenizer: Any):
        self.name, self.net, self.tokenizer = name, net, tokenizer


def open_model(
    model: str | os.PathLike[str],
    context: int,
    progress: Callable[[float, str], None] | None = None,
) -> LanguageModel:
    """Load it, unless somebody holds it already.

    model: a folder, or a repository of the hub, which is fetched if it is not in the cache.
    context: as many tokens as a conversation may have, which take memory, too.
    progress: called with the fraction done and what is being done.

    Raises:
        CheckpointError: there is no such model, it is damaged or not known to mlx-lm, or it does
            not fit into the memory that is free.
        ValueError: mlx-lm is not installed.
        TypeError: `model` is neither a string nor a path.
    """
    worker.check()
    name, folder = find(model)
    files = weights_of(folder)

    def load() -> LanguageModel:
        _check_memory(name, folder, files, context)
        return _load(name, folder, progress)

    return shared(("llm", *map(of_file, [folder / CONFIG, *files])), load)


def find(model: str | os.PathLike[str]) -> tuple[str, Path]:
    """Its name and its folder. Raises as `open_model` does for what is wrong with these."""
    if find_spec("mlx_lm") is None:
        raise _missing("mlx_lm")
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else model
    if not isinstance(name, str):
        raise TypeError(f"model is {shown(model)} (expected a folder or a name)")
    path = Path(os.path.expanduser(name))
    if not path.is_dir():
        if path.is_absolute() or name.startswith(("~", ".")) or path.exists():
            raise CheckpointError(f"{named(name)}: no such folder")
        repository = HubFiles(name).repository  # which checks the name
        path = snapshot(repository, _WANTED, _is_whole)
    if not (path / CONFIG).is_file():
        raise CheckpointError(f"{named(path)}: has no file {shown(CONFIG)}")
    if not weights_of(path):
        raise CheckpointError(f"{named(path)}: has no weights (a file {_WEIGHTS})")
    return name, path


def weights_of(folder: Path) -> list[Path]:
    """The files of its weights."""
    return sorted(folder.glob(_WEIGHTS))


def _is_whole(folder: Path) -> bool:
    """Whether all is there of what mlx-lm needs, as far as an index tells."""
    there = [path.name for path in weights_of(folder)]
    if (folder / _INDEX).is_file():
        wanted = ConfigReader.read(folder / _INDEX, LARGE).get("weight_map", dict, {}).values()
        return bool(wanted) and all(name in there for name in wanted)
    return bool(there) and any(folder.glob("tokenizer*"))


# ---- memory


def _check_memory(name: str, folder: Path, files: list[Path], context: int) -> None:
    """Tell what it takes; CheckpointError where there is not so much."""
    weights = sum(path.stat().st_size for path in files)
    kept = context * token_bytes(ConfigReader.read(folder / CONFIG, LARGE).values)
    free = free_memory()
    takes = f"{_size(weights)} of weights and up to {_size(kept)} for what was said"
    if weights + kept > free:
        raise CheckpointError(
            f"{named(name)}: takes {takes}, and {_size(free)} of memory are free (choose a smaller "
            "model or context, or close other programs)"
        )
    log.info("loading %s: %s; %s of memory are free", named(name), takes, _size(free))


def token_bytes(config: dict[str, Any]) -> int:
    """What a token in the cache takes, as far as a config tells: keys and values of every layer in
    16 bits. 0 where it does not."""
    nested = config.get("text_config")
    values = nested if isinstance(nested, dict) else config

    def number(*names: str) -> int:
        found = [values[name] for name in names if isinstance(values.get(name), int)]
        return int(found[0]) if found else 0

    heads = number("num_attention_heads")
    size = number("head_dim") or number("hidden_size") // max(heads, 1)
    return 4 * number("num_hidden_layers") * (number("num_key_value_heads") or heads) * size


def _size(count: int) -> str:
    """In units of 1000, as shops and macOS count."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


# ---- loading


def _load(name: str, folder: Path, progress: Callable[[float, str], None] | None) -> LanguageModel:
    # Not on the worker: it takes seconds, and makes no arrays.
    try:
        from mlx_lm.utils import load_config, load_tokenizer
    except ImportError as error:
        raise _missing(str(error.name)) from None
    tell = None if progress is None else partial(_tell, progress)
    try:
        config: dict[str, Any] = load_config(folder)
        tokenizer: Any = load_tokenizer(folder, eos_token_ids=config.get("eos_token_id"))
        net = worker.run_pieces(_read(name, folder), tell)
    except CheckpointError:
        raise
    except Exception as error:  # of mlx-lm's, transformers' and their libraries' many types
        worker.check()  # or ours, of a process that is ending
        raise _unusable(name, error) from None
    return LanguageModel(name, net, tokenizer)


def _tell(progress: Callable[[float, str], None], fraction: float) -> None:
    progress(fraction, "loading the language model")


def _missing(package: str) -> ValueError:
    return ValueError(
        f"a language model on this machine needs the package {package} (pip install "
        "'dsm-mlx[chat]', with Python 3.11 or newer)"
    )


def _unusable(name: str, error: Exception) -> CheckpointError:
    told = f"no {error}" if isinstance(error, KeyError) else cut(reason(error), 160)
    return CheckpointError(f"{named(name)}: mlx-lm cannot load it ({told})")


def _read(name: str, folder: Path) -> Pieces[Any]:
    """The module, with its weights in memory. Yields the fraction that is done, by bytes."""
    from mlx_lm.utils import load_model

    limit_memory_once()
    net, _ = load_model(folder, lazy=True)
    yield 0.0
    weights = flat(net.parameters())
    total, done = sum(array.nbytes for _, array in weights) or 1, 0
    for path, array in weights:
        if not bring_in(array):
            raise CheckpointError(f"{named(name)}: the weight {path} is not finite")
        done += array.nbytes
        yield done / total
    return net
