"""Kernels, bytes and host time of a frame of an official shape, by part. Nothing is computed."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import Mock, patch

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map_with_path

from benchmark import models, stt, tts
from benchmark.graph import Counts, count, hollow
from dsm_mlx.codec.config import OFFICIAL
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.lm.tokens import UNGENERATED
from dsm_mlx.loading.quantization import quantize
from dsm_mlx.runtime import device
from dsm_mlx.runtime.frame import Step
from dsm_mlx.runtime.session import Session
from dsm_mlx.stt.frame import SttFrames
from dsm_mlx.stt.step import SttStep
from dsm_mlx.tts.frame import TtsFrames
from dsm_mlx.tts.step import TtsStep

_DELAY = 16  # steps; it changes no count


def of_shape(name: str, bits: int | None) -> dict[str, Counts]:
    """The parts of one stream's frame of an official shape, and "in all"."""
    with as_on_a_gpu():
        lm = language_model(name, bits)
        parts, waits = _hearing(lm) if lm.config.depth is None else _speaking(lm)
    return parts | {"in all": replace(sum(parts.values(), Counts()), waits=waits)}


def figures(parts: dict[str, Counts]) -> dict[str, dict]:
    """The same as figures for a table."""
    return {
        part: {
            "kernels": counts.compiled,
            "kernels, not compiled": counts.raw,
            "copies beside these": counts.copies,
            "MB read": counts.read / 1e6,
            "MB written": counts.written / 1e6,
            "host ms": 1e3 * counts.seconds,
            "waits": counts.waits or None,
        }
        for part, counts in parts.items()
    }


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """Steps are compiled here, and weights prepared for that."""
    before = os.environ.get("DSM_MLX_COMPILE")
    os.environ["DSM_MLX_COMPILE"] = "1"
    try:
        with patch.object(device, "on_cpu", return_value=False):
            yield
    finally:
        del os.environ["DSM_MLX_COMPILE"]
        if before is not None:
            os.environ["DSM_MLX_COMPILE"] = before


def language_model(name: str, bits: int | None) -> MultistreamLM:
    """In bfloat16 or quantised, as a step reads it, without values."""
    model = MultistreamLM(LmConfig.read(models.config(name)))
    if bits:
        quantize(model, bits)

    def weight(path: str, array: mx.array) -> mx.array:
        floating = mx.issubdtype(array.dtype, mx.floating)
        wide = path.startswith("condition_provider")
        return array if not floating or wide else array.astype(mx.bfloat16)

    model.update(hollow(tree_map_with_path(weight, model.parameters())))
    with patch.object(mx, "eval"):  # only the shapes of what it makes are wanted
        for _ in model.prepare():
            pass
    model.update(hollow(model.parameters()))
    return model


def codec(codebooks: int, *, encoder: bool = False, decoder: bool = False) -> MimiModel:
    """The codec, or one half of it, without values."""
    model = MimiModel(OFFICIAL)
    model.keep(codebooks, encoder=encoder, decoder=decoder)
    model.update(hollow(model.parameters()))
    return model


def _waits(frames: Step, session: Session, state: dict) -> int:
    """How often the host waits for the device in a frame of a live session."""

    def ones(*arrays: mx.array) -> list[np.ndarray]:
        return [np.ones(array.shape, bool if array.dtype == mx.bool_ else int) for array in arrays]

    read = Mock(side_effect=ones)
    with patch.object(sys.modules[frames.__module__], "read", read), patch.object(mx, "async_eval"):
        deque(frames.frame(state, [session], None, ahead=False), maxlen=0)
    return read.call_count


def listener(lm: MultistreamLM) -> tuple[SttStep, dict]:
    """A step that hears, and the state of a row."""
    step = SttStep(lm, codec(lm.config.n_q, encoder=True))
    condition = mx.zeros((1, 1, lm.config.dim)) if lm.config.conditioners.sum else None
    return step, hollow(step.init_state(condition))


def _hearing(lm: MultistreamLM) -> tuple[dict[str, Counts], int]:
    step, state = listener(lm)
    mimi, pcm = step.mimi, hollow(mx.zeros((1, step.mimi.config.frame_size)))
    codec = count(mimi.encode_step, pcm, state["codec"])
    parts = {"codec": codec, "main model": count(step, pcm, state) - codec}
    session = stt.Noise(lambda: state, stt.timing_of(step), 0, True)
    session.give(1)
    return parts, _waits(SttFrames(step, "speech to text"), session, state)


def speaker(lm: MultistreamLM) -> tuple[TtsStep, dict, list[dict]]:
    """A step that speaks, the state of a row, and the keys and values of a voice."""
    step = TtsStep(lm, codec(lm.config.dep_q, decoder=True))
    conditions = {"temperature": mx.zeros((1,)), "padding_bonus": mx.zeros((1,))}
    if lm.config.conditioners.sum:
        conditions["sum"] = mx.zeros((1, 1, lm.config.dim))
    state = hollow(step.init_state(conditions, row_keys([0])))
    voice = []
    if lm.config.transformer.cross_attention:
        source = mx.zeros((1, tts.VOICES, lm.config.dim), lm.dtype)
        layers = lm.transformer.layers
        voice = [hollow(layer.cross_attention.keys_values(source)) for layer in layers]
    return step, state, voice


def _speaking(lm: MultistreamLM) -> tuple[dict[str, Counts], int]:
    step, state, voice = speaker(lm)
    given = {
        "text": mx.zeros((1,), mx.int32),
        "hidden": mx.zeros((1, lm.config.dim), lm.dtype),
        "noise": mx.zeros((1, lm.depformer.noise_size)),
    }
    sampled, text = hollow((given, mx.zeros((1,), mx.int32)))
    offered = hollow(mx.zeros((1, 2), mx.int32))
    forced = hollow(mx.full((1, step.codebooks), UNGENERATED))
    codes = hollow(mx.zeros((1, step.codebooks, 1), mx.int32))

    def main(state: dict, voice: list, offered: mx.array) -> tuple:
        return step.sample_text(state, [([0], voice)] if voice else None, None, offered)

    parts = {
        "main model": count(main, state, voice, offered),
        "depth decoder": count(step.sample_audio, state, sampled, text, forced),
        "codec": count(step.decode, codes, state),
    }
    session = tts.Endless((state, [voice] if voice else []), step, _DELAY, said=_DELAY + _DELAY)
    return parts, _waits(TtsFrames(step, "text to speech"), session, state)
