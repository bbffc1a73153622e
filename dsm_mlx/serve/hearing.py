"""Hearing a whole recording, as all protocols have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from dsm_mlx import BusyError
from dsm_mlx.serve.models import served
from dsm_mlx.serve.state import State
from dsm_mlx.stt.recordings import Progress


async def parts_of(state: State, file: Any, **options: Any) -> AsyncGenerator[Progress, None]:
    """What becomes known of a file, as it does. AudioError for what is no sound; BusyError where
    no row is free for too long.

    options: of `SpeechToText.transcribe_events`.
    """
    wait = state.options.limits.wait
    async with (
        state.models.job(wait),
        aclosing(served(state.models.stt).transcribe_events([file], **options)) as parts,
    ):
        with state.sessions.running():
            while True:
                try:
                    part = await asyncio.wait_for(anext(parts), wait)
                except StopAsyncIteration:
                    return
                except asyncio.TimeoutError:
                    raise BusyError("no row was free") from None
                if part.error:
                    raise part.error
                yield part
