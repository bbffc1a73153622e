"""The model of a service: one that is loaded already, or a name; and what its errors are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Generic, Protocol, TypeVar, cast

from pipecat.transcriptions.language import Language
from pipecat.utils.errors import ErrorCategory

from dsm_mlx.errors import AudioError, BusyError, CheckpointError
from dsm_mlx.messages import shown
from dsm_mlx.runtime.waiting import Call

Result = TypeVar("Result")
Name = str | PathLike[str] | None


class _Handle(Protocol):
    @property
    def name(self) -> str: ...

    def close(self) -> None: ...


Handle = TypeVar("Handle", bound=_Handle)


class Model(Generic[Handle]):
    """Somebody's handle, which stays his, or one that is loaded here and closed with the service.

    For one event loop, which never waits for the loading.
    """

    def __init__(self, given: Handle | Name, kind: type[Handle], load: Callable[[Name], Handle]):
        """kind: the class of a handle; anything else is given to `load`, when it is asked for."""
        self._handle: Handle | None = None
        self._name: Name = None
        if isinstance(given, kind):
            self._handle = given
        else:
            self._name = cast(Name, given)
        self._load = load
        self._loading: Call[Handle] | None = None
        self._own: Handle | None = None
        self._closed = False

    @property
    def name(self) -> str | None:
        """What the model is known by, as far as that is known yet."""
        if self._handle is not None:
            return self._handle.name
        return None if self._name is None else str(self._name)

    async def ready(self) -> Handle:
        """The handle, when there is one. Raises what loading raises, to all who ask."""
        if self._handle is not None:
            return self._handle
        if self._loading is None:
            self._loading = Call(self._loaded)
        await self._loading.wait_async()
        return self._loading.result()

    def _loaded(self) -> Handle:
        handle = self._own = self._load(self._name)
        if self._closed:  # meanwhile
            handle.close()
        return handle

    async def close(self) -> None:
        """Close what was loaded here, and only that. May be called twice."""
        self._closed = True
        own, self._own = self._own, None
        if own is not None:
            await called(own.close)


async def called(function: Callable[[], Result]) -> Result:
    """Call a function on a thread of its own. If nobody waits any more when it has ended, what it
    returned is dropped, and so a stream gives its row back."""
    call = Call(function)
    await call.wait_async()
    return call.result()


def category(error: Exception) -> ErrorCategory:
    """What kind of failure an error of ours is. One that no repetition cures takes a service out of
    work until its settings change."""
    if isinstance(error, BusyError):
        return ErrorCategory.RATE_LIMIT
    if isinstance(error, (CheckpointError, AudioError, ValueError, TypeError)):
        return ErrorCategory.INVALID_REQUEST
    return ErrorCategory.SERVER


def check_language(language: str | None, known: Sequence[str]) -> None:
    """ValueError for a language that a model does not know; one that tells of none knows all.

    language: a code such as "en" or "en-GB", of which the first part counts.
    """
    if language is not None and known and language.partition("-")[0] not in known:
        raise ValueError(f"language is {shown(language)} (this model knows {', '.join(known)})")


def as_language(code: str | None, known: Sequence[str]) -> Language | None:
    """What frames tell: the language that was asked for, or the only one that the model knows."""
    if code is None and len(known) == 1:
        code = known[0]
    try:
        return None if code is None else Language(code)
    except ValueError:
        return None
