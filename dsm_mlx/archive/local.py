"""A job on a model of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from dsm_mlx.archive.job import Job
from dsm_mlx.archive.listing import Recording
from dsm_mlx.results import Event, Word
from dsm_mlx.stt.recordings import as_transcript


def hear_here(
    job: Job,
    load: Callable[[], Any],
    *,
    batch: int = 8,
    pauses: bool = False,
    **options: Any,
) -> None:
    """Hear all that is pending, `batch` recordings at a time, and write their results.

    load: gives a `SpeechToText`, or what has its `transcribe_events`; called if there is something
    to hear. pauses: keep them, and the ends of turns. options: of `transcribe_events`. What goes
    wrong with a recording is the job's to tell; raises what `load` does, and TypeError or
    ValueError for an option.
    """
    if not job.any_pending():
        return
    stt = load()
    running: dict[int, tuple[Recording, list[Event]]] = {}

    def paths() -> Iterator[str]:
        for index, recording in enumerate(job.pending()):
            running[index] = recording, []
            yield recording.path

    seconds: dict[int, float] = {}
    with closing(stt.transcribe_events(paths(), batch=batch, **options)) as parts:
        for part in parts:
            recording, events = running[part.index]
            events += part.events if pauses else words_of(part.events)
            heard = seconds.get(part.index, options.get("start", 0.0)) + part.seconds
            seconds[part.index] = heard
            if part.seconds:
                job.hear(recording, part.seconds)
            if part.last:
                del running[part.index], seconds[part.index]
                if part.error:
                    job.fail(recording, str(part.error))
                else:
                    job.finish(recording, as_transcript(events, heard))


def words_of(events: list[Event]) -> list[Event]:
    """Without pauses, of which there is one a frame."""
    return [event for event in events if isinstance(event, Word)]
