"""The synthesizers' shared libraries: from the folder DSM_TRAIN_LIBRARIES, else the system's.

A machine that nothing can be installed on gets them in that folder (see carry.py).
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

FOLDER = "DSM_TRAIN_LIBRARIES"


def folder() -> Path | None:
    """The folder of libraries that were brought along, or None."""
    return Path(os.environ[FOLDER]) if os.environ.get(FOLDER) else None


def load(name: str) -> ctypes.CDLL:
    """A shared library by its file name. OSError if it is nowhere."""
    brought = folder()
    path = str(brought / name) if brought and (brought / name).exists() else name
    # Global, because flite's voices look for flite's own symbols.
    return ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)


def available() -> bool:
    """Whether espeak-ng and flite are both here."""
    try:
        load("libespeak-ng.so.1")
        load("libflite.so.1")
    except OSError:
        return False
    return True


def require(program: str) -> None:
    """OSError, in the name of `program`, where they are not both here."""
    if not available():
        raise OSError(
            f"{program} needs the libraries of espeak-ng and flite, which are not here "
            "(Debian, Ubuntu: apt install libespeak-ng1 libflite1)"
        )
