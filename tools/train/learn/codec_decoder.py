"""The codec's second stage: the decoder, on the frozen codes of the first.

Spectra, and what the frozen encoder hears, are compared; from half of the steps on an adversary
judges too, if the plan gives it a weight.
"""

from __future__ import annotations

import shutil
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from speech.sessions import FRAME_SIZE
from torch import nn

from learn import loop, official
from learn.adversary import Adversary, feature_distance, fool, tell_apart
from learn.codec_encoder import GAIN, latent_of
from learn.cuttings import FRAMES_EACH, Cuttings
from learn.device import autocast, best, keep_float32
from learn.plan import Plan
from learn.spectra import SpectralDistance

_LEARNT = ("decoder.", "decoder_transformer.", "upsample.")
_BEFORE = 20  # frames that the transformer may look back on
_LEAD_IN = 2  # of them go through the convolutions, and are not judged
_SAMPLES_WEIGHT = 0.05
_HEARD_WEIGHT = 1.0
_FEATURES_WEIGHT = 2.0  # relative to fooling the adversary
_ALL_CODEBOOKS, _FEWEST = 0.7, 3
_CLIP = 5.0
_SMOOTH = 0.95


class Decoder:
    """A stage of `loop.train`. The encoder's folder is beside its own."""

    def __init__(self, config: dict, plan: Plan, args: Namespace):
        self.steps, self._plan, self._config = plan.steps, plan, config
        self._device = args.device or best()
        self._source = args.resume / "encoder"
        self._final = args.codec
        self._whole = official.load_codec(self._source, self._device)
        # Half of what it learns from is the voices that it will speak in.
        self._cuttings = Cuttings(args.data, self._whole, ("tts", "train"))
        self.codec = official.codec(config, training={}, device=self._device).train()
        self.codec.requires_grad_(False)
        if args.start:
            self._take_over(official.load_codec(args.start, self._device))
        keep_float32(self.codec.decoder.model[11].convtr.convtr)
        keep_float32(self._whole.encoder.model[3].conv.conv)
        self._parts = nn.ModuleList(
            [self.codec.upsample, self.codec.decoder_transformer, self.codec.decoder]
        ).requires_grad_(True)
        self._distance = SpectralDistance().to(self._device)
        self._adversary = Adversary().to(self._device)
        self._typical = _Typical().to(self._device)
        self.modules = {
            "parts": self._parts,
            "adversary": self._adversary,
            "typical": self._typical,
        }
        self.optimizers = {
            name: torch.optim.AdamW(
                self.modules[name].parameters(), plan.learning_rate, (0.8, 0.98)
            )
            for name in ("parts", "adversary")
        }

    def batch(self, step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng((self._plan.seed, 3, step))
        places = self._cuttings.places(rng, self._plan.batch, before=_BEFORE)
        n_q = self._config["quantizer"]["n_q"]
        some = n_q if rng.random() < _ALL_CODEBOOKS else int(rng.integers(_FEWEST, n_q + 1))
        codes = [self._cuttings.codes[s, :, f - _BEFORE : f + FRAMES_EACH] for s, f in places]
        return {
            "pcm": np.stack([self._cuttings.pcm_at(*place) for place in places]),
            "codes": np.stack(codes).astype(np.int64)[:, :some],
        }

    def update(self, step: int, batch: dict) -> dict[str, torch.Tensor]:
        wanted = torch.as_tensor(batch["pcm"]).to(self._device)
        made = self._decode(torch.as_tensor(batch["codes"]).to(self._device))
        rate = loop.schedule(step, self.steps, self._plan.warm_up) * self._plan.learning_rate
        for optimizer in self.optimizers.values():
            loop.set_rate(optimizer, rate)
        judged = bool(self._plan.adversary) and step >= self.steps // 2
        told = self._teach_adversary(made.detach(), wanted) if judged else {}
        seen = made.detach().requires_grad_()
        losses = self._losses(seen, wanted, judged)
        (gradient,) = torch.autograd.grad(sum(losses.values()), seen)
        optimizer = self.optimizers["parts"]
        optimizer.zero_grad(set_to_none=True)
        made.backward(self._typical.limit(gradient))
        told["gradient"] = nn.utils.clip_grad_norm_(self._parts.parameters(), _CLIP)
        optimizer.step()
        return {**losses, **told}

    def _take_over(self, other: nn.Module) -> None:
        """Go on from the decoder of a finished codec, whose norms are folded and gain undone."""
        weights = other.state_dict()
        last = "decoder.model.14.conv.conv."
        for name in ("weight", "bias"):
            weights[last + name] = weights[last + name] * GAIN
        ours = self.codec.state_dict()
        for name in [name for name in ours if name.startswith(_LEARNT)]:
            folded = weights.get(name.removesuffix("_g").removesuffix("_v"))
            if name.endswith("weight_g"):
                folded = folded.norm(dim=tuple(range(1, folded.dim())), keepdim=True)
            ours[name].copy_(folded)

    def _decode(self, codes: torch.Tensor) -> torch.Tensor:
        """codes (batch, some, frames) -> pcm (batch, samples) of the last FRAMES_EACH frames."""
        with torch.no_grad():
            latent = self._whole.quantizer.decode(codes)
        with autocast(self._device):
            latent = self.codec.upsample(latent)
            (latent,) = self.codec.decoder_transformer(latent)
            pcm = self.codec.decoder(latent[:, :, 2 * (_BEFORE - _LEAD_IN) :])
        start = _LEAD_IN * FRAME_SIZE
        return pcm.float()[:, 0, start : start + FRAMES_EACH * FRAME_SIZE] / GAIN

    def _losses(self, made: torch.Tensor, wanted: torch.Tensor, judged: bool) -> dict:
        distance = (made - wanted).abs().mean() / (wanted.abs().mean() + 0.005)
        losses = {
            "spectra": self._distance(made, wanted),
            "samples": _SAMPLES_WEIGHT * distance,
            "heard": _HEARD_WEIGHT * self._heard_differently(made, wanted),
        }
        if judged:
            ours, theirs = self._adversary(made), self._adversary(wanted)
            losses["fool"] = self._plan.adversary * fool(ours)
            weight = self._plan.adversary * _FEATURES_WEIGHT
            losses["features"] = weight * feature_distance(ours, theirs)
        return losses

    def _heard_differently(self, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """How far apart the encoder puts two sounds, where the quantiser looks; 0 is the same."""
        first, rest = self._whole.quantizer.rvq_first, self._whole.quantizer.rvq_rest
        with torch.no_grad():
            theirs = latent_of(self._whole, wanted[:, None], self._device)
        ours = latent_of(self._whole, made[:, None], self._device)
        total = made.new_zeros(())
        for part in (first, rest):
            a, b = part.input_proj(ours), part.input_proj(theirs)
            total = total + (a - b).square().mean() / b.square().mean()
        return total

    def _teach_adversary(self, made: torch.Tensor, wanted: torch.Tensor) -> dict:
        loss = tell_apart(self._adversary(made), self._adversary(wanted))
        optimizer = self.optimizers["adversary"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"tell_apart": loss}

    def export(self, folder: Path) -> None:
        """The whole codec: encoder and quantiser of the first stage, and this decoder."""
        finished = official.copy_of(self.codec, self._config)
        last = finished.decoder.model[14].conv.conv
        last.weight_g.div_(GAIN)
        last.bias.div_(GAIN)
        trained = official.fold_norms(finished).state_dict()
        whole = {k: w.cpu() for k, w in self._whole.state_dict().items()}
        whole |= {name: w for name, w in trained.items() if name.startswith(_LEARNT)}
        self._whole_copy(whole, folder)
        self._final.mkdir(parents=True, exist_ok=True)
        for name in (official.CODEC_WEIGHTS, official.CODEC_CONFIG):
            shutil.copyfile(folder / name, self._final / name)

    def _whole_copy(self, weights: dict[str, torch.Tensor], folder: Path) -> None:
        codec = official.codec(self._config)
        codec.load_state_dict(weights)
        official.save_weights(codec, folder / official.CODEC_WEIGHTS)
        shutil.copyfile(self._source / official.CODEC_CONFIG, folder / official.CODEC_CONFIG)


class _Typical(nn.Module):
    """Keeps single pieces of sound from steering a whole batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("norm", torch.zeros(()))

    def limit(self, gradient: torch.Tensor) -> torch.Tensor:
        """Each piece's gradient (batch, samples), cut to the typical length of late."""
        norms = gradient.norm(dim=1)
        median = norms.median()
        self.norm = torch.where(self.norm > 0, _SMOOTH * self.norm + (1 - _SMOOTH) * median, median)
        return gradient * (self.norm / norms.clamp(min=1e-12)).clamp(max=1)[:, None]
