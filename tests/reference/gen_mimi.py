"""Mimi: a small one for the tests, and one of the official size for an opt-in check."""

import math
from pathlib import Path

import torch
from common import published_layout, save_arrays, save_json, test_signal
from moshi.models import loaders
from moshi.models.compression import MimiModel
from safetensors.torch import save_file
from torch.nn.functional import pad

FRAME = 1920
TINY = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": dict(loaders._seanet_kwargs, dimension=64, n_filters=8),
    "quantizer": {
        "dimension": 32, "n_q": 8, "bins": 64, "input_dimension": 64, "output_dimension": 64,
    },
    "transformer": dict(
        loaders._transformer_kwargs,
        d_model=64, num_heads=4, num_layers=2, context=20, dim_feedforward=128,
        input_dimension=64, output_dimensions=[64],
    ),
}  # fmt: skip


def weight_scale(name: str, shape: torch.Size) -> float:
    """Keeps activations near 1 through the whole network, and the PCM inside [-1, 1]."""
    last = 0.03 if name == "decoder.model.14.conv.conv.weight" else 1.0
    if len(shape) == 2:
        return 1 / math.sqrt(shape[1])
    if ".convtr." in name:  # kernel = 2 * stride: two taps meet in every output sample
        return 1.25 / math.sqrt(shape[0] * 2 if shape[1] > 1 else 2)
    return last * 1.25 / math.sqrt(shape[1] * shape[2])


def random_value(name: str, shape: torch.Size, g: torch.Generator) -> torch.Tensor:
    if ".scale" in name:
        return 0.2 + 0.6 * torch.rand(shape, generator=g)
    noise = torch.randn(shape, generator=g)
    if "norm" in name:
        return 1 + 0.3 * noise if name.endswith("weight") else 0.2 * noise
    if name.endswith(".bias"):
        return noise * (0.002 if name.startswith("decoder.model.14.") else 0.05)
    return noise * weight_scale(name, shape)


def fill_codebooks(mimi: MimiModel, seed: int, g: torch.Generator) -> None:
    """Draw codebooks from real latents and their residuals, so that many codes are in use."""
    latent = mimi._encode_to_unquantized_latent(test_signal(FRAME * 120, seed=seed + 1))
    for half in (mimi.quantizer.rvq_first, mimi.quantizer.rvq_rest):
        rest = half.input_proj(latent)[0].t().contiguous()
        for layer in half.vq.layers:
            book = layer._codebook
            size, dim = book.embedding_sum.shape
            chosen = torch.randint(len(rest), (size,), generator=g)
            near, spread = (0.8, 0.35) if size <= 256 else (0.35, 0.6)
            noise = torch.randn(size, dim, generator=g)
            centres = near * rest[chosen] + spread * rest.std(0) * noise
            usage = 0.2 + 5 * torch.rand(size, generator=g)
            # An entry that was never used: only the clamp to 1e-5 gives it a finite place.
            usage[3] = 0.0
            centres[3] = 0.01 * torch.randn(dim, generator=g)
            book.cluster_usage.copy_(usage)
            book.embedding_sum.copy_(centres * usage.clamp(min=1e-5)[:, None])
            book._initialized.fill_(1)
            rest = rest - book.decode(book.encode(rest))


@torch.no_grad()
def make_checkpoint(path: Path, config: dict, codebooks: int, seed: int) -> None:
    mimi = loaders.get_mimi(None, config, num_codebooks=codebooks)
    g = torch.Generator().manual_seed(seed)
    for name, p in mimi.named_parameters():
        p.copy_(random_value(name, p.shape, g))
    fill_codebooks(mimi, seed, g)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = published_layout(mimi.state_dict())
    save_file({k: v.contiguous().clone() for k, v in state.items()}, path)
    save_json(path.with_name("mimi_config.json"), config)


def streamed_encode(mimi: MimiModel, pcm: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with mimi.streaming(len(pcm)):
        frames = pcm.split(FRAME, dim=-1)
        latent = torch.cat([mimi._encode_to_unquantized_latent(f) for f in frames], -1)
    return latent, mimi.quantizer.encode(latent)


def streamed_decode(mimi: MimiModel, codes: torch.Tensor) -> torch.Tensor:
    with mimi.streaming(len(codes)):
        return torch.cat([mimi.decode(frame) for frame in codes.split(1, dim=-1)], -1)


@torch.no_grad()
def make_golden(path: Path, weights: Path, config: dict, codebooks: int, frames: int, batch: int):
    """Whole-file and streamed results; the last frame is partial, to see how it is padded."""
    mimi = loaders.get_mimi(weights, config, num_codebooks=codebooks)
    pcm_in = test_signal(frames * FRAME + 777, seed=11, batch=batch)
    codes = mimi.encode(pcm_in)
    stream_latent, stream_codes = streamed_encode(mimi, pcm_in[..., : frames * FRAME])
    # What the stages hand on, first row only.
    seanet = mimi.encoder(pad(pcm_in[:1], (0, -pcm_in.shape[-1] % FRAME)))
    quantised = mimi.decode_latent(codes)
    upsampled = mimi._to_encoder_framerate(quantised[:1])
    arrays = dict(
        pcm_in=pcm_in,
        latent=mimi._encode_to_unquantized_latent(pcm_in),
        codes=codes,
        pcm=mimi.decode(codes),
        stream_latent=stream_latent,
        stream_codes=stream_codes,
        stream_pcm=streamed_decode(mimi, codes),
        enc_seanet=seanet,
        enc_transformer=mimi.encoder_transformer(seanet)[0],
        quant_latent=quantised,
        upsampled=upsampled,
        dec_transformer=mimi.decoder_transformer(upsampled)[0],
    )
    mimi.set_num_codebooks(4)
    arrays |= dict(q4_codes=mimi.encode(pcm_in), q4_pcm=mimi.decode(codes[:, :4]))
    save_arrays(path, **arrays)


def make(out: Path) -> None:
    weights = out / "checkpoints/mimi-tiny/mimi.safetensors"
    make_checkpoint(weights, TINY, codebooks=8, seed=1)
    make_golden(out / "golden/mimi_tiny.npz", weights, TINY, codebooks=8, frames=48, batch=2)


def make_full(out: Path) -> None:
    weights = out / "checkpoints/mimi-full/mimi.safetensors"
    config = loaders._mimi_config
    make_checkpoint(weights, config, codebooks=32, seed=2)
    make_golden(out / "golden/mimi_full.npz", weights, config, codebooks=32, frames=400, batch=1)
