"""The model of a service: one that is loaded already, or a name; and what its errors are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Generic, Protocol, TypeVar, cast

from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language
from pipecat.utils.errors import ErrorCategory

from dsm_mlx.errors import AudioError, BusyError, CheckpointError
from dsm_mlx.messages import shown
from dsm_mlx.results import ModelInfo
from dsm_mlx.runtime.waiting import Call

Result = TypeVar("Result")
Name = str | PathLike[str] | None


class _Handle(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def info(self) -> ModelInfo: ...

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


async def ready(service: STTService | TTSService, model: Model[Handle]) -> Handle:
    """The handle of a service's model, whose name is in its settings and metrics from now on.

    Raises what loading raises, and ValueError for a language that the model does not know.
    """
    handle = await model.ready()
    service.settings.model = handle.name
    service._sync_model_name_to_metrics()
    _check_language(language_of(service), handle.info.languages)
    return handle


async def tell(service: STTService | TTSService, error: Exception) -> None:
    """What went wrong, as an `ErrorFrame`. An error that no repetition cures takes the service out
    of work until its settings change."""
    known = (CheckpointError, AudioError, ValueError, TypeError)
    category = ErrorCategory.INVALID_REQUEST if isinstance(error, known) else ErrorCategory.SERVER
    busy = isinstance(error, BusyError)
    await service.push_error(
        str(error) or type(error).__name__,
        exception=error,
        category=ErrorCategory.RATE_LIMIT if busy else category,
        force_treat_as_permanent=not busy,
    )


def language_of(service: STTService | TTSService) -> str | None:
    """The language that a service is set to, if it is to any: a code such as "en" or "en-GB"."""
    return cast("str | None", service._settings.language)


def _check_language(language: str | None, known: Sequence[str]) -> None:
    """One that tells of no languages knows all. Of the code its first part counts."""
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
