"""Names, shapes and dtypes of every tensor of the official checkpoints, in every layout.

Built on torch's meta device and lazily in MLX, from configs/: no weights are allocated.
"""

import gzip
import json
from pathlib import Path

import torch
from common import official_config, published_layout
from gen_lm import build as build_torch
from gen_mlx import build as build_mlx
from mlx.utils import tree_flatten
from moshi.models import loaders

MODELS = (
    "stt-1b-en_fr", "stt-1b-en_fr-candle", "stt-2.6b-en", "tts-1.6b-en_fr", "tts-0.75b-en-public",
)  # fmt: skip
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16"}


def torch_manifest(module: torch.nn.Module) -> dict:
    state = published_layout(module.state_dict())
    return {k: [list(v.shape), DTYPES[v.dtype]] for k, v in sorted(state.items())}


def mlx_manifest(config: dict, quantised: str | None) -> dict:
    parameters = tree_flatten(build_mlx(config, quantised)[1].parameters())
    return {
        k: [list(v.shape), str(v.dtype).removeprefix("mlx.core.")] for k, v in sorted(parameters)
    }


def make(out: Path) -> None:
    mimi = loaders.get_mimi(None, device="meta", num_codebooks=32)
    manifests = {"mimi": torch_manifest(mimi)}
    for name in MODELS:
        config = official_config(name)
        manifests[name] = torch_manifest(build_torch(config, device="meta"))
        manifests[f"{name}.mlx-bf16"] = mlx_manifest(config, None)
        if name.startswith("tts-1.6b"):
            continue  # its `cfg` table is 16 wide: moshi_mlx cannot quantise it
        for layout in ("q4", "q8"):
            manifests[f"{name}.mlx-{layout}"] = mlx_manifest(config, layout)
    packed = gzip.compress(json.dumps(manifests).encode(), mtime=0)
    (out / "manifests.json.gz").write_bytes(packed)
