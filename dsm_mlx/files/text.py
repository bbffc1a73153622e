"""Text files and pictures, complete or not there at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from dsm_mlx.checks import check_path
from dsm_mlx.messages import named


def load(path: str | os.PathLike) -> str:
    """The text of a file in UTF-8, with or without a mark of that at its beginning.

    Raises:
        OSError: it cannot be read; named.
        ValueError: it is in another encoding, or no text.
    """
    data = Path(check_path("path", path)).read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is 0x{data[error.start]:02x}"
        raise ValueError(
            f"{named(path)}: no text in UTF-8 ({byte}); save it as that, or convert it with iconv"
        ) from None


def save(path: str | os.PathLike, content: str | bytes) -> None:
    """Write text as UTF-8, or bytes, beside the target, and rename, so that no half file is seen.

    What UTF-8 cannot encode is written as an escape. A target that is no ordinary file, such as
    a pipe or /dev/null, is written to and not replaced. Raises `OSError`, naming the path.
    """
    path = Path(check_path("path", path))
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(data)
        else:
            _replace(path, data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _replace(path: Path, data: bytes) -> None:
    path = Path(os.path.realpath(path))  # what a link points to, so that the link stays
    # not made from the target's name, which may be as long as names can be
    beside = path.with_name(f".dsm-{secrets.token_hex(6)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
        beside.replace(path)
    except BaseException:  # an interruption too
        beside.unlink(missing_ok=True)
        raise
