"""A Pipecat pipeline in a test: frames in, frames out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSAudioRawFrame,
)
from pipecat.metrics.metrics import MetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

from dsm_mlx.audio import to_s16le

SECONDS = 120.0


class Collector(FrameProcessor):
    """The last of a pipeline: keeps what comes down, and lets a test wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self._came = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if direction == FrameDirection.DOWNSTREAM:
            self.frames.append(frame)
            self._came.set()
        await self.push_frame(frame, direction)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until it holds, looking whenever something comes."""

        async def holds() -> None:
            while not condition():
                self._came.clear()
                await self._came.wait()

        await asyncio.wait_for(holds(), SECONDS)

    async def come(self, kind: type[Frame], count: int = 1) -> Any:
        """The `count`th frame of a kind, when it has come."""
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    def of(self, *kinds: type[Frame]) -> list[Any]:
        return [frame for frame in self.frames if isinstance(frame, kinds)]

    def text(self, kind: type[Frame]) -> str:
        """Of all frames of a kind."""
        return " ".join(frame.text for frame in self.of(kind))

    def metrics(self, kind: type[MetricsData]) -> list[Any]:
        """The values of a kind of metrics."""
        data = [one for frame in self.of(MetricsFrame) for one in frame.data]
        return [one.value for one in data if isinstance(one, kind)]

    @property
    def pcm(self) -> np.ndarray:
        """What was said, as int16."""
        return np.frombuffer(b"".join(f.audio for f in self.of(TTSAudioRawFrame)), "<i2")


class Piped:
    """A running pipeline. errors: what its processors told of going wrong."""

    def __init__(self, worker: PipelineWorker, out: Collector):
        self.worker, self.out, self.errors = worker, out, []
        self.over = asyncio.Event()

    async def put(self, *frames: Frame) -> None:
        for frame in frames:
            await self.worker.queue_frame(frame)

    async def hear(self, pcm: np.ndarray, rate: int = 24_000) -> None:
        """Sound, in pieces of 20 ms."""
        data, size = to_s16le(pcm), 2 * rate // 50
        for start in range(0, len(data), size):
            await self.put(InputAudioRawFrame(data[start : start + size], rate, 1))

    async def say(self, *pieces: str, end: bool = True) -> None:
        """What a language model writes."""
        last = [LLMFullResponseEndFrame()] if end else []
        await self.put(LLMFullResponseStartFrame(), *map(LLMTextFrame, pieces), *last)

    async def error(self) -> str:
        async def found() -> str:
            while not self.errors:
                await asyncio.sleep(0.01)
            return self.errors[0]

        return await asyncio.wait_for(found(), SECONDS)

    async def finish(self) -> None:
        await self.put(EndFrame())
        await asyncio.wait_for(self.over.wait(), SECONDS)


@asynccontextmanager
async def running(*processors: FrameProcessor, **params):
    """A pipeline of these, until the block ends: it is cancelled then, if it has not ended."""
    out = Collector()
    params = {"audio_in_sample_rate": 24_000, **params}
    worker = PipelineWorker(
        Pipeline([*processors, out]),
        params=PipelineParams(**params),
        enable_rtvi=False,
        cancel_on_idle_timeout=False,
    )
    piped, started = Piped(worker, out), asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker, frame):
        started.set()

    @worker.event_handler("on_pipeline_error")
    async def on_error(worker, frame):
        piped.errors.append(frame.error)

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)

    async def run() -> None:
        await runner.run()
        piped.over.set()

    task = asyncio.ensure_future(run())
    try:
        await asyncio.wait_for(started.wait(), SECONDS)
        yield piped
    finally:
        if not piped.over.is_set():
            await worker.cancel()
        await asyncio.wait_for(task, SECONDS)


def go(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop of its own."""
    asyncio.run(asyncio.wait_for(test(), 3 * SECONDS))
