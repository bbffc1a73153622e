"""moshi_mlx 0.3: language models and the codec."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest.mock import patch

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from moshi_mlx import models, utils
from moshi_mlx.modules.quantization import EuclideanCodebook

from benchmark.jobs import CODEBOOKS, CODEC, LM, Job, Steps, work

# moshi_mlx asks for a depth decoder's settings even where there is none.
_NO_DEPTH = {
    "depformer_dim": 64,
    "depformer_num_heads": 4,
    "depformer_num_layers": 1,
    "depformer_dim_feedforward": 256,
    "depformer_pos_emb": "none",
}


def main() -> None:
    job = Job.of_command()
    start = _codec(job) if job.of_codec else _language(job)
    work(job, start, ("moshi_mlx", "mlx"), mx.get_peak_memory)


def _codec(job: Job) -> Steps:
    mimi = models.mimi.Mimi(models.mimi_202407(CODEBOOKS))
    mimi.load_pytorch_weights(job.file(CODEC))
    if job.turned:
        _lay_out(mimi, codebooks=job.part == "encode")

    def steps(checked: bool) -> Iterator[mx.array]:
        mimi.reset_all()
        with _as_the_reference() if checked else nullcontext():
            for frame in map(mx.array, job.given()):
                encodes = job.part == "encode"
                out = mimi.encode_step(frame[None]) if encodes else mimi.decode_step(frame)
                mx.eval(out)
                yield out

    return steps


@contextmanager
def _as_the_reference() -> Iterator[None]:
    """Correct in what moshi_mlx's codec is not the reference's, to see that all else is equal.

    Its attention has no mask, so that the first of the two steps of a frame attends to the second,
    and its GELU is the approximate one. That has no part in its times, which are of it as it is.
    """
    attention = mx.fast.scaled_dot_product_attention

    def causal(*arrays: mx.array, scale: float, mask: None) -> mx.array:
        return attention(*arrays, scale=scale, mask="causal")

    with (
        patch.object(mx.fast, "scaled_dot_product_attention", causal),
        patch.object(nn, "gelu_approx", nn.gelu),
    ):
        yield


def _language(job: Job) -> Steps:
    config = models.LmConfig.from_config_dict(_NO_DEPTH | job.settings())
    lm = models.Lm(config)
    lm.load_pytorch_weights(job.file(LM), config)
    lm.set_dtype(mx.float32)
    if job.turned:
        _lay_out(lm)

    def start(checked: bool) -> Iterator:
        for cache in lm.transformer_cache:
            cache.reset()
        generator = models.LmGen(
            model=lm,
            max_steps=job.steps,
            text_sampler=utils.Sampler(temp=0.6 if job.speaks and not checked else 0, top_k=25),
            audio_sampler=utils.Sampler(temp=0 if checked else 0.6, top_k=250),
        )
        return (_speak if job.speaks else _listen)(generator, job.given())

    return start


def _listen(generator: models.LmGen, given: np.ndarray) -> Iterator[mx.array]:
    for codes in np.roll(given, -1, axis=0):  # what it is given is heard in the next step
        text, pauses = generator.step_with_extra_heads(mx.array(codes))
        mx.eval(text, pauses)
        yield text


def _speak(generator: models.LmGen, given: np.ndarray) -> Iterator[mx.array]:
    none = mx.full((1, generator.main_codebooks), -1, mx.int32)
    for nothing in given:
        text, _ = generator.step(mx.array(nothing))
        text.item()
        codes = generator.last_audio_tokens()
        said = mx.concatenate([text, none if codes is None else codes], axis=1)
        mx.eval(said)
        yield said


def _lay_out(model: nn.Module, *, codebooks: bool = False) -> None:
    """Keep matrices as (in, out) in memory, whatever their shape says, as dsm_mlx does on a CPU.

    Convolutions stay as they are: `mx.conv1d` on a CPU gets slower by it. Codebooks are matrices
    where sound is encoded.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight = _turned(module.weight)
        elif codebooks and isinstance(module, EuclideanCodebook):
            module._embedding = _turned(module._embedding)


def _turned(matrix: mx.array) -> mx.array:
    """The same (out, in) values with the rows of the transpose one after another in memory."""
    view = mx.contiguous(matrix.T).T
    mx.eval(view)
    outputs, width = matrix.shape[0], matrix.itemsize
    if memoryview(view).strides != (width, width * outputs):
        raise RuntimeError("MLX did not keep the layout of a matrix")
    return view


if __name__ == "__main__":
    main()
