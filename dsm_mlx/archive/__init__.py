"""Folders of recordings to folders of texts, on this machine or on a cluster.

    from dsm_mlx.archive import transcribe_folder

    transcribe_folder("recordings", "texts", formats=["txt", "srt"])
    transcribe_folder("recordings", "texts", scheduler="tcp://mac-1:8786")

Nothing that takes a while is imported before it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dsm_mlx
from dsm_mlx.archive.job import ClusterError, Job
from dsm_mlx.archive.listing import Recording
from dsm_mlx.archive.progress import Progress

if TYPE_CHECKING:
    from dsm_mlx.stt.model import SpeechToText

__all__ = ["ClusterError", "Job", "Progress", "Recording", "transcribe_folder"]


def transcribe_folder(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output_dir: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | SpeechToText | None = None,
    loading: Mapping[str, Any] | None = None,
    formats: Sequence[str] = ("txt",),
    recursive: bool = True,
    skip_existing: bool = True,
    progress: Callable[[Progress], None] | None = None,
    batch: int = 8,
    scheduler: str | None = None,
    workers: int | None = None,
    send_files: bool = False,
    pauses: bool = False,
    **options: Any,
) -> Progress:
    """Transcribe all sound files of a folder, or of several sources.

    It may be stopped at any moment and called again: what is done is not heard again. What could
    not be heard is in `output_dir`/failures.jsonl.

    Args:
        sources, output_dir, formats, recursive, skip_existing, progress: of a `Job`.
        model: a name or folder, as `load_stt` takes it, or a model that is loaded, which workers
            cannot be given.
        loading: other arguments of `load_stt`.
        batch: how many recordings are heard at a time, here or by each of `workers`.
        scheduler: the address of a Dask scheduler, whose workers then hear all.
        workers: so many processes of this machine hear all.
        send_files: send files to workers, which need not see the folder then.
        pauses: keep pauses and the ends of turns, for the json format.
        options: of `SpeechToText.transcribe_events`.

    Returns how far it came: what is neither done nor skipped has failed. Raises what `Job` and
    `load_stt` do, OSError where nothing can be written any more, and ClusterError where the workers
    cannot hear or the scheduler is gone.
    """
    loading = dict(loading or {})
    with Job(
        sources,
        output_dir,
        formats=formats,
        recursive=recursive,
        skip_existing=skip_existing,
        progress=progress,
    ) as job:
        if scheduler is None and workers is None:
            from dsm_mlx.archive.local import hear_here

            load = partial(_loaded, model, loading)
            hear_here(job, load, batch=batch, pauses=pauses, **options)
        elif job.any_pending():
            from dsm_mlx.archive.cluster import connected, hear_there, hearing_of

            hearing = hearing_of(model, loading, options, pauses)
            with connected(scheduler, workers, batch) as client:
                hear_there(job, client, hearing, send_files=send_files)
        return job.progress


def _loaded(model: Any, loading: dict[str, Any]) -> Any:
    """A model that is loaded is as it is."""
    if hasattr(model, "transcribe_events"):
        return model
    return dsm_mlx.load_stt(model, **loading)
