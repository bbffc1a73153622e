"""A job (see jobs.py) in dsm_mlx: `python ours.py JOB`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlx.core as mx

from benchmark.jobs import work
from dsm_mlx.loading.checkpoint import Checkpoint, load_mimi
from dsm_mlx.runtime.device import compiled


def main() -> None:
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    if job["part"] in ("encode", "decode"):
        step = _codec(folder, job["part"])
    else:
        lm = Checkpoint.find(folder, job["part"]).load_lm(dtype="float32", cache=job["cache"])
        step = _listen(lm) if job["part"] == "stt" else _speak(lm)
    work(job, step, mx.get_peak_memory)


def _codec(folder: Path, part: str):
    mimi = load_mimi(
        folder / "mimi.safetensors", None, encoder=part == "encode", decoder=part == "decode"
    )
    if part == "encode":
        run, state = compiled(mimi.encode_step), mimi.encoder_state(1)
        frame = 0.1 * mx.random.normal((1, mimi.config.frame_size))
    else:
        run, state = compiled(mimi.decode_step), mimi.decoder_state(1)
        frame = mx.random.randint(0, mimi.config.bins, (1, mimi.config.n_q, 1))

    def step() -> None:
        nonlocal state
        out, state = run(frame, state)
        mx.eval(out, state)

    return step


def _listen(lm):
    @compiled
    def run(text, codes, state):
        hidden, state = lm(text, codes, state)
        text = mx.argmax(lm.text_logits(hidden), axis=-1).astype(mx.int32)
        return text, lm.pause_probabilities(hidden), state

    codes = mx.random.randint(0, lm.config.card, (1, lm.config.n_q))
    text, state = mx.array([lm.config.text_card], mx.int32), lm.init_state(1)

    def step() -> None:
        nonlocal text, state
        text, pauses, state = run(text, codes, state)
        mx.eval(text, pauses, state)

    return step


def _speak(lm):
    from dsm_mlx.lm.sampling import row_keys
    from dsm_mlx.lm.tokens import UNGENERATED
    from dsm_mlx.tts.step import TtsStep

    class NoCodec:
        def decoder_state(self, batch):
            return {}

    speak = TtsStep(lm, NoCodec(), delay_steps=0)
    conditions = {"temperature": mx.array([0.6]), "padding_bonus": mx.array([0.0])}
    state = speak.init_state(conditions, row_keys([0]))
    forced = mx.full((1, lm.config.dep_q), UNGENERATED, mx.int32)

    def step() -> None:
        nonlocal state
        sampled, state = speak.sample_text(state)
        text = mx.array([sampled["text"].item()], mx.int32)
        codes, _, state = speak.sample_audio(state, sampled, text, forced)
        mx.eval(codes, state)

    return step


if __name__ == "__main__":
    main()
