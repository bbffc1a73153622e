"""The Hugging Face hub: what of it is in the cache, what it has, and fetching that.

Whoever is offline is told at once. The hub's own client asks again and again for half a minute
when nobody answers; so the first contact is one request of ours, made with the same client and
so with its proxies, certificates and token, and the client is left to download only from a hub
that answers.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsm_mlx.errors import CheckpointError
from dsm_mlx.messages import cut, shown

log = logging.getLogger("dsm_mlx")

_ANSWER, _PATIENCE = 4.0, 5.0  # seconds: for one answer, and until we give up whatever it is about
# The client and what it has used for HTTP over the years. They tell of every try, we of the end.
_TALKATIVE = ("huggingface_hub", "httpx2", "httpcore2", "httpx", "httpcore", "requests", "urllib3")


class Unreachable(CheckpointError):
    """The hub does not answer, or must not be asked."""


class NoRepository(CheckpointError):
    """The hub does not have it, or does not say so to everybody."""


class NoFile(CheckpointError):
    """A folder or a repository has no file of that name."""


def check_names(repository: str, revision: str | None) -> None:
    """CheckpointError or ValueError for what cannot be a repository or a revision of one."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError:
        raise CheckpointError(
            f"{shown(repository)}: not the name of a repository (expected owner/name, of letters, "
            "digits, '-', '_' and '.')"
        ) from None
    if revision is not None:
        parts = revision.split("/")
        if not revision.isprintable() or len(revision) > 200 or {"", ".", ".."} & set(parts):
            raise ValueError(f"revision is {shown(revision)} (expected a branch, tag or commit)")


def cached(repository: str, file: str, revision: str | None = None) -> Path | None:
    """Where a file lies in the cache, if it does. The network is not touched.

    (`hf_hub_download` with `local_files_only` does: some versions first ask the hub for a list of
    programs that they shall report.)
    """
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, file, revision=revision)
    return Path(path) if isinstance(path, str) else None


def download(repository: str, file: str, revision: str | None) -> Path:
    """Where `file` lies in the cache; fetched first if it is not there.

    Raises:
        Unreachable: it would have to be fetched, and the hub cannot be asked.
        CheckpointError: the hub does not have it, or getting it failed.
    """
    from huggingface_hub import hf_hub_download

    try:
        found = cached(repository, file, revision)
        if found is not None:
            return found
        with _quiet():
            _ask(repository, file, revision)
            log.info("downloading %s from %s", file, repository)
            return Path(hf_hub_download(repository, file, revision=revision))
    except CheckpointError:
        raise
    except Exception as error:  # the hub's client raises many unrelated types
        raise CheckpointError(
            f"{repository}: cannot get {shown(file)} from the Hugging Face hub ({_reason(error)})"
        ) from None


def snapshot(repository: str, patterns: tuple[str, ...], whole: Callable[[Path], bool]) -> Path:
    """The folder in the cache with the files of a repository that `patterns` name; what is missing
    is fetched first. Where `whole` says that nothing is, the network is not touched.

    Raises:
        Unreachable: it would have to be fetched, and the hub cannot be asked.
        CheckpointError: the hub does not have it, or getting it failed.
    """
    from huggingface_hub import snapshot_download

    config = cached(repository, "config.json")
    if config is not None and whole(config.parent):
        return config.parent
    try:
        with _quiet():
            _ask(repository, "config.json", None)
            log.info("downloading %s", repository)
            return Path(snapshot_download(repository, allow_patterns=list(patterns)))
    except CheckpointError:
        raise
    except Exception as error:  # as in `download`
        raise CheckpointError(
            f"{repository}: cannot be had from the Hugging Face hub ({_reason(error)})"
        ) from None


def list_files(repository: str) -> list[str]:
    """The files of a repository. CheckpointError if the hub cannot be asked."""
    from huggingface_hub import list_repo_files

    with _quiet():
        try:
            _ask(repository, ".gitattributes", None)
            return _within(_PATIENCE, lambda: list_repo_files(repository))
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(f"{repository}: cannot be listed ({_reason(error)})") from None


def cached_files(repository: str) -> list[str]:
    """Those of its files that are on this machine, in whatever revision."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    found = cache.glob("snapshots/*/**/*")
    return sorted({path.relative_to(cache).as_posix().split("/", 2)[2] for path in found})


def cached_repositories() -> list[str]:
    """The repositories of models that have files on this machine, by name."""
    from huggingface_hub import constants

    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return sorted(path.name.removeprefix("models--").replace("--", "/", 1) for path in folders)


def _ask(repository: str, file: str, revision: str | None) -> None:
    """Ask the hub for `file`, once; returns if it has it or is too busy to say.

    Raises:
        Unreachable: there was no answer.
        CheckpointError: it does not have it, or does not give it.
    """
    from huggingface_hub import errors, hf_hub_url

    url = hf_hub_url(repository, file, revision=revision)
    try:
        _within(_PATIENCE, lambda: _head(url))
    except errors.GatedRepoError:
        raise CheckpointError(
            f"{repository}: must be asked for at https://huggingface.co/{repository}, and needs a "
            f"token then (hf auth login) to get {shown(file)}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise NoRepository(
            f"{repository}: no such repository on the Hugging Face hub, or a private one "
            f"(wanted {shown(file)})"
        ) from None
    except errors.RevisionNotFoundError:
        raise CheckpointError(f"{repository}: has no revision {shown(revision)}") from None
    except errors.EntryNotFoundError:
        raise NoFile(f"{repository}: has no file {shown(file)}") from None
    except errors.HfHubHTTPError:
        pass  # an answer, if not a good one: the client knows what may be tried again, and when
    except Exception as error:  # of whatever HTTP library the client uses
        raise Unreachable(
            f"{repository}: {shown(file)} is not on this machine, and the Hugging Face hub cannot "
            f"be reached ({_reason(error)}); what works offline is a folder, or to hear and "
            "speak the bundled model `tiny`"
        ) from None


def _head(url: str) -> None:
    """One request in the client's session, which most of its own functions would repeat."""
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    hf_raise_for_status(get_session().head(url, headers=build_hf_headers(), timeout=_ANSWER))


def _within(seconds: float, function: Callable[[], Any]) -> Any:
    """What `function` returns or raises; TimeoutError if it takes longer.

    It is left to itself then: the look-up of a host's name cannot be broken off.
    """
    outcome: queue.SimpleQueue = queue.SimpleQueue()

    def work() -> None:
        try:
            outcome.put((function(), None))
        except Exception as error:
            outcome.put((None, error))

    threading.Thread(target=work, name="dsm_mlx hub", daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    return value


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error, in a few words."""
    if type(error).__name__ == "OfflineModeIsEnabled":
        return "HF_HUB_OFFLINE is set"
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and isinstance(below.strerror, str):
            reason = below.strerror
        below = below.__cause__ or below.__context__
    return cut(reason, 100)


_quieting = threading.Lock()
_levels: dict[str, int] = {}
_callers = 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the client and its HTTP library from logging, until the last caller is done."""
    global _callers
    import huggingface_hub  # noqa: F401  (it sets its logger's level when it is imported)

    with _quieting:
        _callers += 1
        for name in () if _levels else _TALKATIVE:
            _levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        with _quieting:
            _callers -= 1
            while not _callers and _levels:
                name, level = _levels.popitem()
                logging.getLogger(name).setLevel(level)
