"""A job (see jobs.py) in dsm_mlx: `python -m benchmark.ours JOB`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from itertools import count
from pathlib import Path

import mlx.core as mx

from benchmark.jobs import CODEC, Job, Steps, work
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.lm.tokens import NOTHING, UNGENERATED
from dsm_mlx.loading.checkpoint import Checkpoint, load_mimi
from dsm_mlx.runtime.device import compiled
from dsm_mlx.tts.step import TtsStep


def main() -> None:
    job = Job.of_command()
    if job.of_codec:
        start = _codec(job)
    else:
        checkpoint = Checkpoint.find(Path(job.folder), job.part)
        lm = checkpoint.load_lm(dtype="float32", cache=job.cache)
        start = _speak(lm) if job.speaks else _listen(lm, job)
    work(job, start, ("mlx",), mx.get_peak_memory)


def _codec(job: Job) -> Steps:
    encodes = job.part == "encode"
    mimi = load_mimi(Path(job.file(CODEC)), None, encoder=encodes, decoder=not encodes)
    run = compiled(mimi.encode_step if encodes else mimi.decode_step)

    def steps(_checked: bool) -> Iterator[mx.array]:
        state = mimi.encoder_state(1) if encodes else mimi.decoder_state(1)
        for frame in job.given():
            out, state = run(mx.array(frame), state)
            mx.eval(out, state)
            yield out

    return steps


def _listen(lm, job: Job) -> Steps:
    def run(text, codes, state, seen):
        hidden, state = lm(text, codes, state, seen=seen)
        text = mx.argmax(lm.text_logits(hidden), axis=-1).astype(mx.int32)
        return text, lm.pause_probabilities(hidden), state

    @cache
    def step(seen):
        return compiled(partial(run, seen=seen))

    def steps(_checked: bool) -> Iterator[mx.array]:
        text, state = mx.array([lm.config.text_card], mx.int32), lm.init_state(1)
        given = job.given()
        given[0] = lm.config.card  # others begin so whatever they are given
        for number, codes in enumerate(given):
            # as in a stream: of the ring only what may be filled
            text, pauses, state = step(lm.seen(1 + number))(text, mx.array(codes), state)
            mx.eval(text, pauses, state)
            yield text

    return steps


class _NoCodec:
    """Stands for the codec, which is timed by itself."""

    def decoder_state(self, batch: int) -> dict:
        return {}


def _speak(lm) -> Steps:
    speak = TtsStep(lm, _NoCodec())
    none = mx.full((lm.config.dep_q,), NOTHING, mx.int32)

    def steps(checked: bool) -> Iterator[mx.array]:
        temperature = mx.array([0.0 if checked else 0.6])
        conditions = {"temperature": temperature, "padding_bonus": mx.array([0.0])}
        state = speak.init_state(conditions, row_keys([0]))
        for number in count():
            sampled, state = speak.sample_text(state, seen=lm.seen(1 + number))
            text = mx.array([sampled["text"].item()], mx.int32)
            begun = mx.array(speak.pattern.begun(number))
            forced = mx.where(begun, UNGENERATED, NOTHING)[None]
            codes, _, state = speak.sample_audio(state, sampled, text, forced)
            whole = number >= speak.pattern.longest
            said = mx.concatenate([text, codes[0, :, 0] if whole else none])
            mx.eval(said, state)
            yield said

    return steps


if __name__ == "__main__":
    main()
