"""The codec's first stage: encoder and quantiser, so that the codes tell the sounds of speech.

Trained together, decoder and encoder were unstable: the quantiser chased a moving encoder. Here
small throw-away heads stand in for the decoder: they tell the mel spectrum from the quantised
latent, and the phones from the first codebook (in place of distilling a speech model).
"""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from speech.phones import PHONES, SILENCE, UNKNOWN
from torch import nn

from learn import loop, official
from learn.cuttings import FRAMES_EACH, Cuttings
from learn.device import autocast, best, keep_float32
from learn.plan import Plan
from learn.spectra import Spectrum

# The sound is louder inside: small inputs start the untrained convolutions off too weakly.
# Exporting puts the factor into the first convolution.
GAIN = 20.0
_A_FRAME = 4  # labels and spectra
_BANDS = 64
_HOP = 480
_DROPOUT, _NO_QUANTISATION, _DECAY = 0.4, 0.4, 0.98
_SEEN_FOR_CLUSTERS, _CLUSTER_PASSES = 128, 9
_MEL, _PHONES, _PHONES_OF_ALL, _COMMITMENT = 2.0, 1.0, 0.4, 0.5
_CLIP = 5.0


class Head(nn.Module):
    """latent (batch, width, frames) -> (batch, frames, 4, out)."""

    def __init__(self, width: int, out: int, hidden: int = 256):
        super().__init__()
        self.first = nn.Conv1d(width, hidden, 3, padding=1)
        self.second = nn.Conv1d(hidden, _A_FRAME * out, 1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        told = self.second(F.gelu(self.first(latent)))
        return told.unflatten(1, (_A_FRAME, -1)).permute(0, 3, 1, 2)


class Encoder:
    """A stage of `loop.train`; exports a whole codec, its decoder untrained."""

    def __init__(self, config: dict, plan: Plan, args: Namespace):
        self.steps, self._plan, self._config = plan.steps, plan, config
        self._device = args.device or best()
        self._cuttings = Cuttings(args.data)
        learning = {"q_dropout": True, "decay": _DECAY, "no_quantization_rate": _NO_QUANTISATION}
        self.codec = official.codec(config, training=learning, device=self._device).train()
        self.codec.requires_grad_(True)
        keep_float32(self.codec.encoder.model[3].conv.conv)
        width = config["quantizer"]["input_dimension"]
        self.heads = nn.ModuleList(
            [Head(width, len(PHONES)), Head(width, len(PHONES)), Head(width, _BANDS, 384)]
        ).to(self._device)
        self._spectrum = Spectrum(1024, _HOP, _BANDS).to(self._device)
        self.modules = {"codec": self.codec, "heads": self.heads}
        groups = [
            {"params": self._learnt()},
            {"params": list(self.heads.parameters()), "factor": 2.0},
        ]
        adam = torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.98))
        for group in adam.param_groups:
            group["weight_decay"] = 1e-3
        self.optimizers = {"adam": adam}

    def _learnt(self) -> list[nn.Parameter]:
        c = self.codec
        parts = (c.encoder, c.encoder_transformer, c.downsample, c.quantizer)
        return [p for part in parts for p in part.parameters()]

    def batch(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self._plan.seed, 2, step))
        many = _SEEN_FOR_CLUSTERS if step == self._plan.settle else self._plan.batch
        places = self._cuttings.places(rng, many)
        return {
            "pcm": np.stack([self._cuttings.pcm_at(*place) for place in places])[:, None],
            "phones": np.stack([self._cuttings.phones_at(*place) for place in places]),
            "dropout": rng.random() < _DROPOUT,
        }

    def update(self, step: int, batch: dict) -> dict[str, torch.Tensor]:
        pcm = torch.as_tensor(batch["pcm"]).to(self._device)
        phones = torch.as_tensor(batch["phones"]).to(self._device).long()
        phones = phones.view(len(phones), FRAMES_EACH, _A_FRAME)
        if step == self._plan.settle:
            self._start_clusters(pcm)
            pcm, phones = pcm[: self._plan.batch], phones[: self._plan.batch]
        loss, told = self._losses(step, pcm, phones, bool(batch["dropout"]))
        told["gradient"] = loop.descend(self, self._plan, step, loss, _CLIP, flat=0.5)
        return {"loss": loss, **told}

    def _losses(self, step: int, pcm: torch.Tensor, phones: torch.Tensor, dropout: bool):
        first, all_, commitment = self._quantised(self._latent(pcm), step, dropout)
        told, told_of_all, mel = (
            head(z) for head, z in zip(self.heads, (first, all_, all_), strict=True)
        )
        right = phones.flatten()
        mel_loss = _MEL * (mel - self._mel(pcm)).abs().mean()
        first_loss = F.cross_entropy(told.flatten(0, 2), right, ignore_index=UNKNOWN)
        all_loss = F.cross_entropy(told_of_all.flatten(0, 2), right, ignore_index=UNKNOWN)
        loss = mel_loss + _PHONES * first_loss + _PHONES_OF_ALL * all_loss
        spoken = (phones != UNKNOWN) & (phones != SILENCE)
        hits = (told.argmax(-1) == phones)[spoken].float().mean()
        return loss + _COMMITMENT * commitment, {
            "mel": mel_loss,
            "phones": first_loss,
            "right": hits,
            "commitment": commitment,
        }

    def _latent(self, pcm: torch.Tensor) -> torch.Tensor:
        return latent_of(self.codec, pcm * GAIN, self._device)

    def _quantised(self, latent: torch.Tensor, step: int, dropout: bool):
        """What the first codebook tells, what all tell, and the commitment loss."""
        first, rest = self.codec.quantizer.rvq_first, self.codec.quantizer.rvq_rest
        if step < self._plan.settle:
            told = [q.output_proj(q.input_proj(latent)) for q in (first, rest)]
            return told[0], told[0] + told[1], latent.new_zeros(())
        rest.q_dropout = dropout
        self._set_clocks(step)
        rate = self._config["frame_rate"]
        one, others = first(latent, rate), rest(latent, rate)
        return one.x, one.x + others.x, one.penalty + others.penalty

    def _codebooks(self) -> list[nn.Module]:
        first, rest = self.codec.quantizer.rvq_first, self.codec.quantizer.rvq_rest
        return [layer._codebook for layer in (*first.vq.layers, *rest.vq.layers)]

    def _set_clocks(self, step: int) -> None:
        """moshi's quantiser counts and draws for itself: make that a function of the step."""
        self.codec.quantizer.rvq_rest.rng_dropout.seed(step)
        for book in self._codebooks():
            book._next_unused_check = book.check_unused_every - step % book.check_unused_every

    def _start_clusters(self, pcm: torch.Tensor) -> None:
        """Codebooks from k-means on latents that have settled; moshi does it at the first call."""
        rest = self.codec.quantizer.rvq_rest
        for book in self._codebooks():
            book._initialized.fill_(0)
            book._cached_initialized = False
        with torch.no_grad():
            latent = self._latent(pcm)
            rest.q_dropout = False
            for _ in range(_CLUSTER_PASSES):
                self.codec.quantizer(latent, self._config["frame_rate"])

    def _mel(self, pcm: torch.Tensor) -> torch.Tensor:
        """Log-mel around 0, (batch, frames, 4, bands)."""
        mel = self._spectrum.log_mel(self._spectrum(pcm[:, 0]))[:, :, : FRAMES_EACH * _A_FRAME]
        return ((mel + 4) / 2).transpose(1, 2).unflatten(1, (FRAMES_EACH, _A_FRAME))

    def export(self, folder: Path) -> None:
        finished = official.copy_of(self.codec, self._config)
        finished.encoder.model[0].conv.conv.weight_g.mul_(GAIN)
        official.save_weights(official.fold_norms(finished), folder / official.CODEC_WEIGHTS)
        (folder / official.CODEC_CONFIG).write_text(json.dumps(self._config, indent=1) + "\n")


def latent_of(codec: nn.Module, pcm: torch.Tensor, device: str) -> torch.Tensor:
    """pcm (batch, 1, samples) -> float32 (batch, width, frames), before it is quantised."""
    with autocast(device):
        latent = codec.encoder(pcm)
        (latent,) = codec.encoder_transformer(latent)
        latent = codec.downsample(latent)
    return latent.float()
