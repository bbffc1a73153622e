"""The compiled steps of one stream's frame, as `benchmark.counts` puts them together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from unittest.mock import patch

import mlx.nn as nn
from benchmark import counts, models
from benchmark.graph import Counts, hollow

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.stt.step import SttStep
from metal_audit.audit import Audit

OFFICIAL = [name for name in models.NAMES if not name.endswith("small")]
TINY = {"tiny": ("tiny", "stt"), "tiny-tts": ("tiny", "tts")}  # in the package: model, kind


def of_shape(name: str, bits: int | None) -> Audit:
    """What a frame needs. name: of an official shape, or of `TINY`, which has bits of its own."""
    found = Audit()

    def look(function: Callable, *inputs) -> Counts:
        nonlocal found
        if isinstance(function, SttStep):
            found = Audit()  # the codec, which came before, is in this frame, too
        found.add(function, inputs)
        return Counts()

    with patch.object(counts, "count", look):
        if name in TINY:
            _of_package(Checkpoint.find(*TINY[name]))
        else:
            counts.of_shape(name, bits)
    return found


def _of_package(checkpoint: Checkpoint) -> None:
    """`counts.of_shape` of a model in the package instead of an official one's."""

    def language_model(*_) -> nn.Module:
        return _hollow(checkpoint.load_lm(dtype="bfloat16"))

    replaced = {"language_model": language_model, "codec": partial(_codec, checkpoint)}
    with patch.multiple(counts, **replaced):
        counts.of_shape(checkpoint.name, None)


def _codec(
    checkpoint: Checkpoint, codebooks: int, *, encoder: bool = False, decoder: bool = False
) -> MimiModel:
    model = checkpoint.outline_mimi().model
    model.keep(codebooks, encoder=encoder, decoder=decoder)
    return _hollow(model)


def _hollow(model: nn.Module) -> nn.Module:
    model.update(hollow(model.parameters()))
    return model
