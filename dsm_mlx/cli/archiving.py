"""What the stt command does with an archive: folders of any size, here or on a cluster."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from dsm_mlx.archive import Job, Progress
from dsm_mlx.archive.failures import NAME
from dsm_mlx.archive.listing import ITS_NAME
from dsm_mlx.cli import common
from dsm_mlx.cli.common import shown_name
from dsm_mlx.cli.transcripts import formats, rendered
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import say

_EVERY = 60.0  # seconds between two lines where there is no terminal
INSTALL = "pip install 'dsm-mlx[cluster]'"


def transcribe_archive(
    load: Callable[[], Any], args: argparse.Namespace, options: dict[str, Any]
) -> int:
    """Hear what is not done; 1 if not all is done then.

    load: gives the model, if one of this process hears. options: of `transcribe_events`.
    """
    shown = _Bar() if sys.stderr.isatty() else _Lines()
    job = Job(
        args.files,
        args.output_dir,
        formats=formats(args),
        recursive=args.recursive,
        skip_existing=args.skip_existing,
        output_name=args.output_name or ITS_NAME,
        render=partial(rendered, args),
        progress=shown.show,
    )
    try:
        with job, shown:
            _hear(job, load, args, options)
    except KeyboardInterrupt:
        told = f"{_told(job.progress)}; --skip-existing goes on from there"
        raise KeyboardInterrupt(f"interrupted; {told}") from None
    finally:
        if job.progress.failed:
            say(f"what failed, and why: {shown_name(args.output_dir / NAME)}")
    end = job.progress
    if not (end.done or end.failed or end.skipped):
        raise AudioError(f"no sound files in {', '.join(map(shown_name, args.files))}")
    say(_told(end))
    return int(end.failed > 0)


def _hear(
    job: Job, load: Callable[[], Any], args: argparse.Namespace, options: dict[str, Any]
) -> None:
    if not args.cluster:
        from dsm_mlx.archive.local import hear_here

        hear_here(job, load, batch=args.batch, pauses=args.pauses, **options)
        return
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise OSError(f"a cluster needs Dask, which is not installed: {INSTALL}") from None
    from dsm_mlx.archive.cluster import connected, hear_there, hearing_of

    if not job.any_pending():
        return
    _silence("distributed")  # we tell what matters
    hearing = hearing_of(args.model, common.loading(args), options, args.pauses)
    with connected(args.scheduler, args.workers, args.batch) as client:
        hear_there(job, client, hearing, send_files=args.send_files)


def _silence(package: str) -> None:
    """Its loggers, of which some have a level of their own."""
    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == package:
            logging.getLogger(name).setLevel(logging.CRITICAL)


class _Lines:
    """A line now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, progress: Progress) -> None:
        if time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            say(_told(progress))


class _Bar:
    """A line that changes, on a terminal."""

    def __enter__(self) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc="listening",
            bar_format="{desc}: {percentage:3.0f}%|{bar}|{postfix}",
            leave=False,
            file=sys.stderr,
        )

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, progress: Progress) -> None:
        self._bar.total = progress.heard + (progress.left or 0.0) or None
        self._bar.set_postfix_str(_told(progress), refresh=False)
        self._bar.update(progress.heard - self._bar.n)


def _told(progress: Progress) -> str:
    """How far it is, in a line."""
    parts = [f"{progress.heard / 3600:.2f} h heard"]
    if progress.left:
        parts.append(f"about {progress.left / 3600:.2f} h left")
    parts.append("1 file done" if progress.done == 1 else f"{progress.done} files done")
    if progress.skipped:
        parts.append(f"{progress.skipped} done before")
    if progress.failed:
        parts.append(f"{progress.failed} failed")
    return ", ".join(parts)
