"""Handles of the same files and options share what was loaded of them."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dsm_mlx.checks import check_whole
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.device import free_memory
from dsm_mlx.runtime.worker import Pieces

if TYPE_CHECKING:
    from typing_extensions import Self  # of Python 3.11

log = logging.getLogger("dsm_mlx")

Core = TypeVar("Core", bound="Loadable")

Value = TypeVar("Value")

_MOST_STREAMS = 1024


class _Loading:
    """Who loads, and who waits for the same. It is forgotten when the last of them has it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


_lock = threading.Lock()
_loaded: weakref.WeakValueDictionary[Hashable, object] = weakref.WeakValueDictionary()
_loading: weakref.WeakValueDictionary[Hashable, _Loading] = weakref.WeakValueDictionary()


class Loadable(Protocol):
    """What is loaded of a model and shared. kind: "stt" or "tts". about_tiny: what users of the
    bundled model should know."""

    kind: str
    about_tiny: str
    name: str

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Pieces[Self]:
        """On the worker's thread; yields (fraction done, what is being done)."""
        ...

    def row_bytes(self) -> int:
        """The memory of one row. On the worker's thread."""
        ...

    def allow(self, rows: int) -> None:
        """Let there be so many rows more, or fewer. On the worker's thread."""
        ...


def open_core(
    kind_of_core: type[Core],
    model: str | PathLike[str] | None,
    options: LoadOptions,
    revision: str | None,
    max_streams: int | None,
    progress: Callable[[float, str], None] | None,
    lora: str | PathLike[str] | None = None,
) -> tuple[Core, int]:
    """What handles of this model share, loaded if nobody holds it, and how many streams the new
    handle may have. Arguments as for `dsm_mlx.load_stt`."""
    if max_streams is not None:
        check_whole("max_streams", max_streams, 1, _MOST_STREAMS)
    worker.check()
    tell = None if progress is None else _of_pair(progress)
    if progress:
        progress(0.0, "finding the files")
    checkpoint = Checkpoint.find(model, kind_of_core.kind, revision, lora)

    def load() -> Core:
        return worker.run_pieces(kind_of_core.load(checkpoint, options), tell)

    if checkpoint.files.bundled:
        _tell_once(kind_of_core.about_tiny)
    core = shared((kind_of_core, identity(checkpoint), options), load)
    rows = max_streams or worker.run(lambda: rows_that_fit(core.row_bytes(), free_memory()))
    if progress:
        progress(1.0, "ready")
    return core, rows


@cache
def _tell_once(what: str) -> None:
    """In the log, and not again by this process, which may load `tiny` many times."""
    log.warning(what)


def _of_pair(progress: Callable[[float, str], None]) -> Callable[[tuple[float, str]], None]:
    return lambda news: progress(*news)


def told(pieces: Pieces[Value], start: float, end: float, what: str) -> Pieces[Value]:
    """Pieces that yield fractions, as a part of a whole: they yield (fraction, what) then."""
    value: list[Value] = []

    def whole() -> Iterator[float]:
        value.append((yield from pieces))

    for fraction in whole():
        yield start + (end - start) * fraction, what
    return value[0]


def rows_that_fit(bytes_a_row: int, free: int) -> int:
    """The largest power of two up to 16 whose rows take a quarter of the free bytes; at least 1."""
    rows = 16
    while rows > 1 and rows * bytes_a_row > free / 4:
        rows //= 2
    return rows


def shared(key: Hashable, load: Callable[[], Value]) -> Value:
    """What `load` gave for an equal key, as long as somebody holds it; else it is called.

    Those who ask for the same at the same time wait for the first; if that one fails, the next
    one tries.
    """
    with _lock:
        loading = _loading.setdefault(key, _Loading())
    with loading.lock:
        loaded: Any = _loaded.get(key)
        if loaded is None:
            loaded = load()
            _loaded[key] = loaded
    return loaded


def identity(checkpoint: Checkpoint) -> Hashable:
    """What tells one model's files from another's, and from those that replaced them: the path,
    size and time of each."""
    paths = tuple(of_file(path) for path in checkpoint.paths)
    return paths, checkpoint.lora and checkpoint.lora.scaling


def of_file(path: Path) -> tuple[str, int, int]:
    """What tells a file from another one, and from one that replaced it."""
    found = path.stat()
    return str(path.resolve()), found.st_size, found.st_mtime_ns
