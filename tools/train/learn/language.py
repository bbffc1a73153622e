"""What speech to text and text to speech share as stages: one model of text and codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from speech.phones import PHONES, UNKNOWN
from torch import nn

from learn import loop, official
from learn.corpus import Corpus
from learn.labels import PHONES_A_FRAME
from learn.plan import Plan

_CLIP = 1.0


@dataclass(frozen=True)
class Given:
    """What a language model is made of and from.

    codec: folder of the codec. start: a checkpoint folder to go on from; None starts from random
    weights.
    """

    config: dict
    corpus: Corpus
    codec: Path
    tokenizer: Path
    device: str = "cpu"
    start: Path | None = None


class LanguageModel:
    """The common half of a stage of `loop.train`; the other half is `batch` and `_losses`."""

    def __init__(self, plan: Plan, given: Given):
        self.steps, self._plan, self._given = plan.steps, plan, given
        self._config, self._corpus, self._device = given.config, given.corpus, given.device
        self.model = official.language_model(given.config, given.device)
        if given.start:
            official.load_weights(self.model, given.start / official.LM_WEIGHTS)
        else:
            embed_as_codec(self.model, official.load_codec(given.codec, given.device))

    def update(self, step: int, batch: dict) -> dict[str, torch.Tensor]:
        """One step of gradient descent; the losses."""
        arrays = {name: torch.as_tensor(v).to(self._device) for name, v in batch.items()}
        loss, told = self._losses(arrays, step / self.steps)
        told["gradient"] = loop.descend(self, self._plan, step, loss, _CLIP)
        return {"loss": loss, **told}

    def _losses(self, arrays: dict[str, torch.Tensor], done: float):
        """The loss and what it is made of. done: share of the steps, from 0 to 1."""
        raise NotImplementedError

    def export(self, folder: Path) -> None:
        """A checkpoint folder as Kyutai publishes it; loads in the reference and in dsm_mlx."""
        given = self._given
        official.save_checkpoint(folder, self.model, given.config, given.codec, given.tokenizer)


def phone_head(width: int, device: str) -> nn.Linear:
    """What tells the phones of a step from its state; it is thrown away after training."""
    return nn.Linear(width, PHONES_A_FRAME * len(PHONES)).to(device)


def fading(done: float) -> float:
    """Factor of the phones' weight: they help to begin with. done: share of the steps."""
    return 1 - 0.7 * done


def phone_loss(head: nn.Linear, hidden: torch.Tensor, phones: torch.Tensor) -> torch.Tensor:
    """hidden (batch, steps, width), phones int64 (batch, steps, 4): nats for each."""
    told = head(hidden.float()).unflatten(-1, (PHONES_A_FRAME, len(PHONES)))
    return F.cross_entropy(told.flatten(0, 2), phones.flatten(), ignore_index=UNKNOWN)


def embed_as_codec(model: nn.Module, codec: nn.Module) -> None:
    """Start from audio embeddings that sum to the codec's latent: it learns much sooner."""
    with torch.no_grad():
        tables = []
        for quantizer in (codec.quantizer.rvq_first, codec.quantizer.rvq_rest):
            projection = quantizer.output_proj.weight[:, :, 0].T
            tables += [layer.embedding @ projection for layer in quantizer.vq.layers]
        tables = [table - table.mean(0) for table in tables]
        scale = sum((table**2).mean() for table in tables).sqrt()
        width = tables[0].shape[1]
        turn = nn.init.orthogonal_(torch.empty(width, model.dim)) * math.sqrt(model.dim / width)
        for embedding, table in zip(model.emb, tables, strict=True):
            embedding.weight[: len(table)] = table / scale @ turn.to(table)
