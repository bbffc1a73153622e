"""moshi, the reference in PyTorch: language models and the codec, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from moshi.models import LMGen, loaders

from benchmark.jobs import CODEBOOKS, CODEC, LM, Job, Steps, work

# Keys of config.json that do not describe the language model.
_NOT_LM = ("model_type", "stt_config", "tts_config")

# Without it moshi expects a projection into a depth decoder even where there is none.
_NO_DEPTH = {"depformer_multi_linear": True}


@torch.inference_mode()
def main() -> None:
    job = Job.of_command()
    torch.set_num_threads(job.cores)
    start = _codec(job) if job.of_codec else _language(job)
    work(job, start, ("moshi", "torch"))


def _codec(job: Job) -> Steps:
    mimi = loaders.get_mimi(job.file(CODEC), num_codebooks=CODEBOOKS)

    def steps(_checked: bool) -> Iterator[torch.Tensor]:
        with mimi.streaming(1):
            for frame in torch.from_numpy(job.given()):
                encodes = job.part == "encode"
                yield mimi.encode(frame[None]) if encodes else mimi.decode(frame.long())

    return steps


def _language(job: Job) -> Steps:
    settings = _NO_DEPTH | job.settings()
    config = {key: value for key, value in settings.items() if key not in _NOT_LM}
    lm = loaders.get_moshi_lm(job.file(LM), config, dtype=torch.float32)

    def start(checked: bool) -> Iterator[torch.Tensor]:
        return (_speak if job.speaks else _listen)(lm, job, checked)

    return start


def _listen(lm, job: Job, _checked: bool) -> Iterator[torch.Tensor]:
    generator = LMGen(lm, use_sampling=False)
    with generator.streaming(1):
        for codes in torch.from_numpy(job.given()):
            said, _pauses = generator.step_with_extra_heads(codes.long()[..., None])
            yield said


def _speak(lm, job: Job, checked: bool) -> Iterator[torch.Tensor]:
    said: list[torch.Tensor] = []
    generator = LMGen(
        lm,
        use_sampling=not checked,
        temp=0.6,
        temp_text=0.6,
        top_k=250,
        top_k_text=25,
        on_text_hook=said.append,
    )
    with generator.streaming(1):
        for nothing in torch.from_numpy(job.given()):
            frame = generator.step(nothing.long()[..., None])
            codes = torch.full((lm.dep_q,), -1) if frame is None else frame[0, 1:, 0]
            yield torch.cat([said.pop(), codes])


if __name__ == "__main__":
    main()
