"""Putting a converted checkpoint on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from dsm_mlx.messages import cut, named


def check_repository(name: str) -> bool:
    """Whether `name` is an OWNER/NAME as the hub takes it."""
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", name))


def upload(folder: Path, repository: str) -> str:
    """Create the repository if need be and put the folder's files there; returns its address.

    Raises:
        OSError: the hub refuses or cannot be reached. The folder stays.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        address = api.create_repo(repository, exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=repository)
    except Exception as error:  # the hub's client raises many unrelated types
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OSError(
            f"{repository}: cannot be uploaded ({cut(first, 200)}); {named(folder)} is complete"
        ) from None
    return str(address)
