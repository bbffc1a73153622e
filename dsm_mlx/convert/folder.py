"""A folder that takes the place of another: at every instant the old or the new one is whole.

The new one is made in a hidden folder beside it, which holds

    lock    locked by the process that works there; the name that `new` shall have is in it
    new     what is being written, and after an exchange what was replaced
    old     what was replaced, where the system can only rename it away first

A process that is killed leaves the hidden folder behind, with a lock that nobody holds: the next
one that writes beside it removes it. Where it was killed between the two renames, and only there,
the name itself is missing and both `old` and `new` are in the hidden folder: the next one puts the
old one back.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dsm_mlx.convert.exchange import exchange, move
from dsm_mlx.convert.interrupts import Interrupts
from dsm_mlx.messages import named

log = logging.getLogger("dsm_mlx")

_PREFIX = ".dsm-convert-"


def write_folder(path: Path, fill: Callable[[Path], None], check: Callable[[Path], None]) -> None:
    """Make a folder and give it the name `path` when all of it is written.

    Whatever ends this otherwise, nothing of it is left and what was at `path` is untouched;
    folders above it that were missing are made, and removed again.

    fill: writes into the new folder. Ctrl-C, SIGTERM and SIGHUP end it with a KeyboardInterrupt;
        outside of it they wait.
    check: raises an exception if the thing at its argument, which exists, must not be replaced.
        It is asked before anything is written and again before the old thing goes.

    Raises:
        KeyboardInterrupt: with a message that says whether `path` was written.
        OSError: it cannot be written; a full disk is told apart.
    """
    with Interrupts() as interrupts:
        try:
            _write(_resolved(path), fill, check, interrupts)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("interrupted; nothing was written") from None
        except OSError as error:
            raise _explained(path, error) from None
        if interrupts.waiting:  # what came while it was held back
            raise KeyboardInterrupt(f"interrupted; {named(path)} is written and complete")


def _write(path: Path, fill, check, interrupts: Interrupts) -> None:
    made: list[Path] = []
    try:
        _make(path.parent, made)
        clear_leftovers(path.parent)
        _check(path, check)
        work = _Work.beside(path)
        try:
            interrupts.let_through(lambda: _fill(work.new, fill))
            interrupts.raise_waiting()
            work.put_in_place(path, replacing=_check(path, check))
        finally:
            interrupts.hold()
            work.clear()
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # somebody else may have put something there
                folder.rmdir()
        raise


def _fill(folder: Path, fill) -> None:
    fill(folder)
    for place, _, files in os.walk(folder):
        for file in files:
            _sync(Path(place, file))
        with suppress(OSError):  # some file systems cannot
            _sync(Path(place))


def _check(path: Path, check) -> bool:
    """Whether something is there; if so, it may be replaced."""
    try:
        path.lstat()  # fails, and not at the very end, for what can be no folder's name
    except FileNotFoundError:
        return False
    check(path)
    return True


def _make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it that are missing, adding to `made` what was made."""
    if not os.path.lexists(folder):
        _make(folder.parent, made)
        with suppress(FileExistsError):  # somebody else did
            folder.mkdir()
            made.append(folder)


def _resolved(path: Path) -> Path:
    """Where a link leads to, and names such as "." as they are really called."""
    odd = path.is_symlink() or path.name in ("", "..")
    return Path(os.path.realpath(path)) if odd else path


def _explained(path: Path, error: OSError) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(f"{named(path)}: the disk is full; nothing was written")
    if _PREFIX in str(error.filename):  # a name that would tell the user nothing
        return OSError(f"{named(path)}: cannot be written ({error.strerror}); nothing was written")
    return error


class _Work:
    """The hidden folder of one conversion, locked by this process."""

    def __init__(self, folder: Path, lock: int):
        self.folder, self._lock = folder, lock
        self.new, self.old = folder / "new", folder / "old"

    @classmethod
    def beside(cls, path: Path) -> _Work:
        """A new one for what shall be called `path`."""
        lock = None
        while lock is None:  # another process may take a new one for a leftover, and clear it
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=path.parent))
            lock = _new_lock(folder)
        work = cls(folder, lock)
        try:
            os.write(lock, os.fsencode(path.name))
            os.fsync(lock)
            work.new.mkdir()
        except OSError:
            work.clear()
            raise
        return work

    def put_in_place(self, path: Path, replacing: bool) -> None:
        """Give `new` its name; unless it is `replacing` something, nothing may be there."""
        if not replacing:
            move(self.new, path)
        elif not exchange(self.new, path):
            path.rename(self.old)
            move(self.new, path)
        with suppress(OSError):  # some file systems cannot; all is done
            _sync(path.parent)

    def clear(self) -> None:
        """Remove the folder, and put back what was taken away for nothing."""
        try:
            # Both there: stopped between the two renames of `put_in_place`.
            if os.path.lexists(self.old) and os.path.lexists(self.new) and not self._put_back():
                return
            for part in (self.new, self.old):
                if os.path.lexists(part):
                    shutil.rmtree(part)
            (self.folder / "lock").unlink(missing_ok=True)
            self.folder.rmdir()
        except FileNotFoundError:
            pass  # another process cleared it as well
        except OSError as error:
            log.warning("%s: cannot be removed (%s)", self.folder, error.strerror)
        finally:
            os.close(self._lock)

    def _put_back(self) -> bool:
        path = self.folder.parent / os.fsdecode(os.pread(self._lock, 1 << 12, 0))
        try:
            if path.parent != self.folder.parent:
                raise OSError(errno.EINVAL, "its name is lost")
            move(self.old, path)
        except OSError as error:
            log.warning("%s: cannot be put back as %s (%s)", self.old, path, error.strerror)
            return False
        log.warning("%s: put back as it was before it was to be replaced", path)
        return True


def clear_leftovers(parent: Path) -> None:
    """Remove what processes that were killed have left in a folder."""
    with suppress(OSError):  # a folder that may be written and not be listed
        found = [entry for entry in parent.iterdir() if entry.name.startswith(_PREFIX)]
        for folder in (entry for entry in found if not entry.is_symlink()):
            lock = _left_lock(folder)
            if lock is not None:
                _Work(folder, lock).clear()


def _new_lock(folder: Path) -> int | None:
    """Make and take the lock of a new hidden folder; None if another process has got hold of it.

    Where the file system knows no locks it is open and not locked; nobody clears such a folder.
    """
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return None
    except OSError:
        folder.rmdir()
        raise
    taken = False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        taken = True
    except OSError:
        pass
    if taken or not (folder / "lock").exists():
        os.close(lock)
        return None
    return lock


def _left_lock(folder: Path) -> int | None:
    """Take the lock of a hidden folder that was left; None if its process lives."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        with suppress(OSError):  # killed before the lock was there, and then the folder is empty
            folder.rmdir()
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
