"""Renames that the system makes in one step and that Python does not offer.

Linux has renameat2(2), macOS renamex_np(2); both leave it to the file system whether it can.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
_HERE = -100  # AT_FDCWD: names are relative to the current folder, as usual
# What shall happen to a target that is there: (Linux, macOS).
_KEEP, _SWAP = (1, 4), (2, 2)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names; at every instant both are there. False if it cannot be done here.

    Raises:
        OSError: it can be done here, and failed; nothing has changed.
    """
    return _rename(one, other, _SWAP)


def move(source: Path, target: Path) -> None:
    """Rename a folder to a name that nothing has.

    Where the system cannot make sure of that, an empty folder that appears in the last instant
    is replaced.

    Raises:
        FileExistsError: `target` is there.
        OSError: it failed; nothing has changed.
    """
    if _rename(source, target, _KEEP):
        return
    if os.path.lexists(target):
        raise _error(errno.EEXIST, source, target)
    source.rename(target)


def _rename(source: Path, target: Path, flags: tuple[int, int]) -> bool:
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(source), os.fsencode(target)
    try:
        if sys.platform == "darwin":
            failed = library.renamex_np(*names, flags[1])
        else:
            failed = library.renameat2(_HERE, names[0], _HERE, names[1], flags[0])
    except AttributeError:  # a C library from before
        return False
    if not failed:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise _error(number, source, target)


def _error(number: int, source: Path, target: Path) -> OSError:
    return OSError(number, os.strerror(number), str(source), None, str(target))
