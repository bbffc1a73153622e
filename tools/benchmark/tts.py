"""Text to speech: streams as a user would run them, and the halves of a step by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import mlx.core as mx

from benchmark import models
from benchmark.statistics import spread
from dsm_mlx.codec.mimi import Mimi
from dsm_mlx.tts.engine import Rows
from dsm_mlx.tts.prepare import Preparation, Speakers, Style
from dsm_mlx.tts.script import ScriptMachine, ScriptReader
from dsm_mlx.tts.session import Script, Session, Timing
from dsm_mlx.tts.step import UNGENERATED, SpeakStep

_VOICE_FRAMES, _SLOTS = 125, 5  # of the official voices
_TEXT = "and so it goes on and on "
_EMBEDDINGS = ("audio_emb", "text_emb", "condition_provider")


@dataclass
class Runner:
    """A model that can be run: the step, and what a stream needs beside it."""

    step: SpeakStep
    timing: Timing
    preparation: Preparation
    speakers: Speakers
    ahead: int

    @classmethod
    def random(cls, name: str, bits: int | None, dtype: str | None) -> Runner:
        lm = models.random_lm(name, bits, dtype)
        mimi = models.random_mimi(lm.config.dep_q, encoder=False)
        settings = models.config(name).section("tts_config")
        timing = Timing(
            delay_steps=round(settings.get("audio_delay", float) * mimi.config.frame_rate),
            delays=lm.config.delays[1:],
            frame_rate=mimi.config.frame_rate,
            sample_rate=mimi.config.sample_rate,
        )
        step = SpeakStep(lm, mimi, timing.delay_steps)
        preparation = Preparation(step, timing, Mimi(mimi), _SLOTS, {})
        voice = lm.config.conditioners.by_name.get("speaker_wavs")
        speakers = Speakers("no voice")
        if voice:
            shape = (1, _SLOTS * _VOICE_FRAMES, voice.dim)
            mask = mx.arange(shape[1])[None] < _VOICE_FRAMES
            speakers = Speakers("a voice", mx.random.normal(shape), mask)
        return cls(step, timing, preparation, speakers, settings.get("second_stream_ahead", int, 0))

    @classmethod
    def load(cls, model: str, bits: int | None, dtype: str | None) -> Runner:
        from dsm_mlx import load_tts

        tts = load_tts(model, bits=bits, dtype=dtype)
        speakers = tts._speakers([None])
        return cls(tts._step, tts._timing, tts._preparation, speakers, tts._ahead)

    @property
    def frame_rate(self) -> float:
        return self.timing.frame_rate

    def stream(self, rows: int) -> Stream:
        return Stream(self, rows)

    def session(self) -> Session:
        """One that never runs out of text."""
        reader = ScriptReader(lambda word: tuple(10 + ord(letter) % 90 for letter in word))
        machine = ScriptMachine(self.step.lm.config.text_card, self.ahead)
        script = Script(reader, machine)
        script.feed(_TEXT * 300)
        return Session(script, self.timing)

    def bytes_per_step(self, rows: int) -> int:
        """What one step has to read: the depth decoder's shared weights once for each slice that
        uses them, all others once, caches of each row."""
        lm = self.step.lm
        depth, schedule = lm.depformer, lm.config.depth.schedule
        per_set = [0] * (max(schedule) + 1)
        for layer in depth.layers:
            attention = layer.self_attn
            for used in (attention.in_proj, attention.out_proj, layer.gating):
                for i, part in enumerate(used):
                    per_set[i] += models.size(part)
        again = sum(per_set[i] for i in schedule) - sum(per_set)
        state, _ = self.preparation.start(self.speakers, Style(), 0)
        weights = models.size(lm, skip=_EMBEDDINGS) + models.size(self.step.mimi) + again
        return weights + rows * models.state_size(state)


class Stream:
    """Rows that speak; the first sound comes after the model's delay."""

    def __init__(self, talker: Runner, rows: int):
        self._rows = Rows(talker.step, rows)
        for row in range(rows):
            state, conditions = talker.preparation.start(talker.speakers, Style(), row)
            self._rows.join(row, talker.session(), state, conditions)

    def run(self, frames: int) -> Iterator[float]:
        """Speak `frames` frames of sound; yields the seconds until each."""
        for _ in range(frames):
            start = time.perf_counter()
            while not self._rows.run():
                pass
            yield time.perf_counter() - start

    def close(self) -> None:
        self._rows.close()


def parts(talker: Runner, frames: int) -> dict[str, dict]:
    """Milliseconds of the main model, the depth decoder and the codec by themselves, one row."""
    step = talker.step
    state, conditions = talker.preparation.start(talker.speakers, Style(), 0)
    heard, _, _ = step.listen(state["row"], state["lm"], conditions)
    forced = mx.full((1, step.codebooks), UNGENERATED, mx.int32)
    codes = mx.zeros((1, step.codebooks, 1), mx.int32)

    def listen():
        return step.listen(state["row"], state["lm"], conditions)

    def speak():
        return step.speak(state["row"], heard, heard["text"], forced, conditions)

    def decode():
        return step.decode(codes, state["decoder"])

    return {
        "main model": _alone(listen, frames),
        "depth decoder": _alone(speak, frames),
        "codec": _alone(decode, frames),
    }


def _alone(half, frames: int) -> dict:
    times = []
    for _ in range(frames + 3):
        start = time.perf_counter()
        mx.eval(half())
        times.append(time.perf_counter() - start)
    return spread(times[3:])
