"""The models on this machine, as the commands list them, and what else they list."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from dsm_mlx.cli.common import check_stdout, list_devices, put, shown_name

if TYPE_CHECKING:
    from dsm_mlx.loading.local import LocalModel


def listing(args: argparse.Namespace) -> Callable[[], int] | None:
    """What shows the devices or models that a command was asked for in the place of its work."""
    if args.list_devices:
        return list_devices
    return list_models if args.list_models else None


def list_models() -> int:
    """One line for each: the name to load it by, what it is for, size, languages and folder."""
    from dsm_mlx.loading.local import local_models

    check_stdout("open it to see the models")
    put("".join(f"{line}\n" for line in model_lines(local_models())))
    return 0


def model_lines(models: list[LocalModel]) -> list[str]:
    """What `list_models` says of each."""
    longest = max(len(model.name) for model in models)
    spoken = max(len(" ".join(model.languages)) for model in models)
    return [
        f"{shown_name(model.name):{longest}}  {model.kind}  {_size(model.bytes):>7}  "
        f"{' '.join(model.languages):{spoken}}  {shown_name(model.folder)}"
        for model in models
    ]


def _size(count: int) -> str:
    """In units of 1000, as shops and macOS count."""
    mega = count / 1e6
    return f"{mega / 1000:.1f} GB" if mega >= 1000 else f"{mega:.1f} MB"
