"""A small network that tells decoded speech from recorded speech by its spectra."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

_SIZES = (512, 1024, 2048)
_WIDTH = 24
Judgement = list[list[torch.Tensor]]  # of each size: the layers' features, the verdict last


class _Judge(nn.Module):
    """Two-dimensional convolutions over one complex spectrogram."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        widths = (2, _WIDTH, _WIDTH, _WIDTH)
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(
                nn.Conv2d(before, after, (9, 3), stride=(2, 1), padding=(4, 1))
            )
            for before, after in pairwise(widths)
        )
        self.verdict = nn.Conv2d(_WIDTH, 1, 3, padding=1)

    def forward(self, pcm: torch.Tensor) -> list[torch.Tensor]:
        seen = torch.stft(
            pcm, self.size, self.size // 4, window=self.window, normalized=True, return_complex=True
        )
        x = torch.stack([seen.real, seen.imag], 1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return [*features, self.verdict(x)]


class Adversary(nn.Module):
    def __init__(self):
        super().__init__()
        self.judges = nn.ModuleList(_Judge(size) for size in _SIZES)

    def forward(self, pcm: torch.Tensor) -> Judgement:
        """pcm (batch, samples)."""
        return [judge(pcm) for judge in self.judges]


def tell_apart(made: Judgement, recorded: Judgement) -> torch.Tensor:
    """What the adversary wants to be small (hinge loss)."""
    losses = [
        F.relu(1 + ours[-1]).mean() + F.relu(1 - theirs[-1]).mean()
        for ours, theirs in zip(made, recorded, strict=True)
    ]
    return sum(losses) / len(losses)


def fool(made: Judgement) -> torch.Tensor:
    """What the decoder wants to be small."""
    return sum(F.relu(1 - ours[-1]).mean() for ours in made) / len(made)


def feature_distance(made: Judgement, recorded: Judgement) -> torch.Tensor:
    """How differently the adversary sees the two sounds."""
    distances = [
        (a - b.detach()).abs().mean() / (b.detach().abs().mean() + 1e-6)
        for ours, theirs in zip(made, recorded, strict=True)
        for a, b in zip(ours[:-1], theirs[:-1], strict=True)
    ]
    return sum(distances) / len(distances)
