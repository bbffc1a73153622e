"""The models on this machine, as the commands list them."""

from __future__ import annotations

from dsm_mlx.cli.common import check_stdout, put, shown_name


def list_models() -> int:
    """One line for each: the name to load it by, what it is for, size, languages and folder."""
    from dsm_mlx.loading.local import local_models

    check_stdout("open it to see the models")
    models = local_models()
    longest = max(len(model.name) for model in models)
    spoken = max(len(" ".join(model.languages)) for model in models)
    for model in models:
        languages = " ".join(model.languages)
        put(
            f"{shown_name(model.name):{longest}}  {model.kind}  {_size(model.bytes):>7}  "
            f"{languages:{spoken}}  {shown_name(model.folder)}\n"
        )
    return 0


def _size(count: int) -> str:
    """In units of 1000, as shops and macOS count."""
    mega = count / 1e6
    return f"{mega / 1000:.1f} GB" if mega >= 1000 else f"{mega:.1f} MB"
