"""What a job has to do, what of it is done, and where its results go. It hears nothing itself."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from dsm_mlx import captions
from dsm_mlx.archive.failures import Failures
from dsm_mlx.archive.listing import ITS_NAME, Recording, check_sources, find
from dsm_mlx.archive.progress import Progress, Tally
from dsm_mlx.checks import check_path
from dsm_mlx.files.text import save
from dsm_mlx.messages import named, reason, shown
from dsm_mlx.results import Transcript

log = logging.getLogger("dsm_mlx")

# Reasons that all other files would have, too.
_HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class ClusterError(OSError):
    """The workers of a cluster cannot hear, or it is gone. What was written stays."""


class Job:
    """Recordings to be heard, and a folder for their results. Use it in a `with` block.

    A recording is *done* when all its results are there, one for each format. Each appears complete
    or not at all, and they are made before the first is written; whoever stops between two of them
    leaves a recording that is not done.

    Args:
        sources: sound files, and folders of them.
        output_dir: where results are written, in folders as their recordings lie in; see
            `listing.find`. Beside them is failures.jsonl, see `Failures`.
        formats: of `captions.FORMATS`.
        recursive: with the folders in folders.
        skip_existing: leave out recordings that are done.
        output_name: what results are called; {name} in it is that of the recording.
        render: makes the text of a result of a transcript and a format; else `captions.render`.
        progress: called with how far it is whenever that changes, on the caller's thread.

    Raises:
        ValueError, TypeError: what is wrong with which argument.
    """

    def __init__(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        output_dir: str | os.PathLike[str],
        *,
        formats: Sequence[str] = ("txt",),
        recursive: bool = True,
        skip_existing: bool = True,
        output_name: str = ITS_NAME,
        render: Callable[[Transcript, str], str] = captions.render,
        progress: Callable[[Progress], None] | None = None,
    ):
        if isinstance(sources, (str, os.PathLike)):
            sources = [sources]
        self._sources = [check_path("sources", source) for source in sources]
        check_sources(self._sources)
        for kind in formats:
            if kind not in captions.FORMATS:
                expected = ", ".join(captions.FORMATS)
                raise ValueError(f"formats has {shown(kind)} (expected of {expected})")
        if ITS_NAME not in output_name or set(output_name) & set("/\0"):
            raise ValueError(
                f"output_name is {shown(output_name)} (expected a name with {ITS_NAME} in it)"
            )
        self.output_dir = Path(check_path("output_dir", output_dir))
        self._formats, self._name = tuple(formats), output_name
        self._recursive, self._skip = recursive, skip_existing
        self._render, self._progress = render, progress
        self._failures = Failures(self.output_dir)
        self._tally = Tally(self._sources, recursive)
        self._found, self._next = self._find(), list[Recording]()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *_: object) -> None:
        self._tally.stop()
        self._failures.save()

    @property
    def progress(self) -> Progress:
        """How far it is."""
        return self._tally.now

    def any_pending(self) -> bool:
        """Whether there is something to hear, and so a reason to load a model."""
        if not self._next:
            self._next = list(islice(self._found, 1))
        return bool(self._next)

    def pending(self) -> Iterator[Recording]:
        """What is to be heard, found while it is asked for, once."""
        while self.any_pending():
            yield self._next.pop()

    def _find(self) -> Iterator[Recording]:
        for recording in find(self._sources, self._recursive):
            if recording.wrong:
                self.fail(recording, recording.wrong)
            elif self._skip and all(map(os.path.isfile, self._paths(recording))):
                self._tally.skipped += 1
                self._failures.forget(recording.path)
                self._end(recording)
            else:
                yield recording

    def hear(self, recording: Recording, seconds: float) -> None:
        """So many seconds more of a recording were heard."""
        self._tally.hear(recording, seconds)
        self._tell()

    def forget(self, recording: Recording) -> None:
        """What was heard of a recording is lost, and heard again."""
        self._tally.forget(recording)

    def finish(self, recording: Recording, transcript: Transcript) -> None:
        """Write the results of a recording. OSError where nothing can be written any more."""
        try:
            texts = [self._render(transcript, kind) for kind in self._formats]
            for path, text in zip(self._paths(recording), texts, strict=True):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                save(path, text)
        except OSError as error:
            if error.errno in _HOPELESS:
                raise
            self.fail(recording, f"{named(error.filename or recording.name)}: {reason(error)}")
        except ValueError as error:  # times that no caption can have
            self.fail(recording, str(error))
        else:
            self._tally.done += 1
            self._failures.forget(recording.path)
            self._end(recording, whole=True)

    def fail(self, recording: Recording, why: str) -> None:
        """A recording will not be heard, or not be written; why begins with its path."""
        log.warning("not done: %s", why)
        self._tally.failed += 1
        self._failures.add(recording.path, why)
        self._end(recording)

    def _paths(self, recording: Recording) -> list[str]:
        folder, name = os.path.split(recording.name)
        path = os.path.join(self.output_dir, folder, self._name.replace(ITS_NAME, name))
        return [f"{path}.{kind}" for kind in self._formats]

    def _end(self, recording: Recording, whole: bool = False) -> None:
        self._tally.end(recording, whole)
        self._tell()

    def _tell(self) -> None:
        if self._progress:
            self._progress(self._tally.now)
