"""Spectra that the codec's losses compare."""

from __future__ import annotations

import math

import torch
from torch import nn

SAMPLE_RATE = 24_000
_FLOOR = 1e-3


def mel_bank(size: int, bands: int) -> torch.Tensor:
    """Triangular filters (bands, size / 2 + 1), evenly spaced on the mel scale."""

    def hertz(mel: torch.Tensor) -> torch.Tensor:
        return 700 * (10 ** (mel / 2595) - 1)

    top = 2595 * math.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = hertz(torch.linspace(0, top, bands + 2))
    frequencies = torch.linspace(0, SAMPLE_RATE / 2, size // 2 + 1)[None]
    low, middle, high = (edges[i : i + bands, None] for i in range(3))
    rising = (frequencies - low) / (middle - low)
    falling = (high - frequencies) / (high - middle)
    return torch.minimum(rising, falling).clamp(min=0)


class Spectrum(nn.Module):
    """Magnitudes (batch, size / 2 + 1, frames) of pcm (batch, samples), and their mel bands."""

    def __init__(self, size: int, hop: int, bands: int):
        super().__init__()
        self.size, self.hop = size, hop
        self.register_buffer("window", torch.hann_window(size), persistent=False)
        self.register_buffer("bank", mel_bank(size, bands), persistent=False)

    def forward(self, pcm: torch.Tensor) -> torch.Tensor:
        transform = torch.stft(pcm, self.size, self.hop, window=self.window, return_complex=True)
        return transform.abs().clamp(min=1e-7) / math.sqrt(self.size)

    def log_mel(self, magnitudes: torch.Tensor) -> torch.Tensor:
        return torch.log((self.bank @ magnitudes).clamp(min=_FLOOR))


class SpectralDistance(nn.Module):
    """How far two sounds are apart, seen through windows from 11 to 85 ms."""

    def __init__(self):
        super().__init__()
        scales = ((256, 64, 20), (512, 128, 40), (1024, 256, 64), (2048, 512, 80))
        self.spectra = nn.ModuleList(Spectrum(*scale) for scale in scales)

    def forward(self, made: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """pcm (batch, samples) of both -> a number."""
        total = made.new_zeros(())
        for spectrum in self.spectra:
            ours, theirs = spectrum(made), spectrum(wanted)
            mel = (spectrum.log_mel(ours) - spectrum.log_mel(theirs)).abs().mean()
            linear = (ours - theirs).abs().mean() / (theirs.abs().mean() + 1e-3)
            total = total + mel + 0.5 * linear
        return total / len(self.spectra)
