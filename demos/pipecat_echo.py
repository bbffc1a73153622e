"""A Pipecat pipeline that hears a recording and says it back, into a file.

pip install 'dsm-mlx[pipecat]'
python demos/pipecat_echo.py IN.wav OUT.wav
"""

import asyncio
import sys

if __name__ == "__main__" and {"-h", "--help"} & set(sys.argv[1:2]):
    sys.exit(print(__doc__))
try:
    import numpy as np
    from pipecat.frames.frames import (
        EndFrame,
        InputAudioRawFrame,
        LLMContextFrame,
        LLMFullResponseEndFrame,
        LLMFullResponseStartFrame,
        LLMTextFrame,
        TTSAudioRawFrame,
    )
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.processors.aggregators.llm_context import LLMContext
    from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
    from pipecat.processors.frame_processor import FrameProcessor
    from pipecat.workers.runner import WorkerRunner

    from dsm_mlx import load_stt, load_tts
    from dsm_mlx.audio import WavWriter, read, to_s16le
    from dsm_mlx.pipecat import DsmSTTService, DsmTTSService
except ImportError as error:
    sys.exit(f"error: {error} (pip install 'dsm-mlx[pipecat]')")


class Echo(FrameProcessor):
    """In the place of a language model's service."""

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        heard = frame.context.messages[-1]["content"]
        print(heard)
        await self.push_frame(LLMFullResponseStartFrame())
        for word in f"You said: {heard}.".split():
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())


class Written(FrameProcessor):
    """In the place of a loudspeaker; done is set when an answer was said."""

    def __init__(self, file):
        super().__init__()
        self._file, self.done = file, asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self._file.write(np.frombuffer(frame.audio, "<i2"))
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.done.set()
        await self.push_frame(frame, direction)


async def main(source: str, target: str) -> None:
    with load_stt() as stt, load_tts() as tts, WavWriter(target, 24_000) as file:
        turns = LLMContextAggregatorPair(LLMContext()).user()
        written = Written(file)
        pipeline = Pipeline([DsmSTTService(stt), turns, Echo(), DsmTTSService(tts), written])
        params = PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=24_000)
        worker = PipelineWorker(pipeline, params=params)

        async def speak() -> None:
            sound = to_s16le(read(source, target=16_000))
            for start in range(0, len(sound), 640):  # 20 ms, as a call has them
                piece = sound[start : start + 640]
                await worker.queue_frame(InputAudioRawFrame(piece, 16_000, 1))
                await asyncio.sleep(0.02)
            await written.done.wait()
            await worker.queue_frame(EndFrame())

        runner = WorkerRunner()
        await runner.add_workers(worker)
        await asyncio.gather(runner.run(), speak())


if len(sys.argv) != 3:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
asyncio.run(main(*sys.argv[1:]))
