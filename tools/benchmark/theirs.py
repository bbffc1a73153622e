"""A job (see jobs.py) in moshi_mlx 0.3, run by the Python that has it: `python theirs.py JOB`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx
from jobs import work
from moshi_mlx import models, utils

# moshi_mlx asks for a depth decoder's settings even where there is none.
_NO_DEPTH = {
    "depformer_dim": 64,
    "depformer_num_heads": 4,
    "depformer_num_layers": 1,
    "depformer_dim_feedforward": 256,
    "depformer_pos_emb": "none",
}


def main() -> None:
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    if job["part"] in ("encode", "decode"):
        step = _codec(folder, job["part"])
    else:
        step = _language(folder, job)
    work(job, step, mx.get_peak_memory)


def _codec(folder: Path, part: str):
    mimi = models.mimi.Mimi(models.mimi_202407(32))
    mimi.load_pytorch_weights(str(folder / "mimi.safetensors"))
    if part == "encode":
        run, frame = mimi.encode_step, 0.1 * mx.random.normal((1, 1, 1920))
    else:
        run, frame = mimi.decode_step, mx.random.randint(0, 2048, (1, 32, 1))
    return lambda: mx.eval(run(frame))


def _language(folder: Path, job: dict):
    config = models.LmConfig.from_config_dict(
        _NO_DEPTH | json.loads((folder / "config.json").read_text())
    )
    lm = models.Lm(config)
    lm.load_pytorch_weights(str(folder / "model.safetensors"), config)
    lm.set_dtype(mx.float32)
    speaks = job["part"] == "tts"
    generator = models.LmGen(
        model=lm,
        max_steps=job["warm"] + job["frames"],
        text_sampler=utils.Sampler(temp=0.6 if speaks else 0, top_k=25),
        audio_sampler=utils.Sampler(temp=0.6, top_k=250),
    )
    heard = mx.random.randint(0, 2048, (1, config.other_codebooks))

    def listen() -> None:
        mx.eval(generator.step_with_extra_heads(heard))

    def speak() -> None:
        text, _ = generator.step(heard)
        text.item()
        codes = generator.last_audio_tokens()
        mx.eval(codes if codes is not None else text)

    return speak if speaks else listen


if __name__ == "__main__":
    main()
