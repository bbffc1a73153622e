"""The MLX layouts, written and run by moshi_mlx: bfloat16, 4 bits in groups of 32, 8 of 64."""

import json
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import save_arrays, save_json
from mlx.utils import tree_flatten
from moshi_mlx import models, utils

QUANTISED = {"q4": (4, 32), "q8": (8, 64)}  # bits, group size


def build(config: dict, quantised: str | None = None) -> tuple[models.LmConfig, models.Lm]:
    """A bfloat16 model, made lazily: an official one costs no memory."""
    lm_config = models.LmConfig.from_config_dict(config)
    # moshi_mlx fixes both. Only with a cache of exactly the window does it equal PyTorch.
    lm_config.transformer.max_seq_len = config["context"]
    lm_config.transformer.dim_feedforward = int(config["hidden_scale"] * config["dim"])
    model = models.Lm(lm_config)
    model.set_dtype(mx.bfloat16)
    if quantised:
        bits, group = QUANTISED[quantised]
        nn.quantize(model, bits=bits, group_size=group)
    return lm_config, model


def make_checkpoint(out: Path, source: str, quantised: str | None) -> str:
    folder = out / "checkpoints" / source
    config = json.loads((folder / "config.json").read_text())
    lm_config, model = build(config)
    model.load_pytorch_weights(str(folder / config["moshi_name"]), lm_config, strict=True)
    name = f"{source}-mlx"
    if quantised:
        name += f"-{quantised}"
        bits, group = QUANTISED[quantised]
        nn.quantize(model, bits=bits, group_size=group)
        config["moshi_name"] = f"model.{quantised}.safetensors"
    folder = out / "checkpoints" / name
    save_json(folder / "config.json", config)
    mx.save_safetensors(str(folder / config["moshi_name"]), dict(tree_flatten(model.parameters())))
    return name


def make_golden(out: Path, name: str, quantised: str | None, codes: np.ndarray) -> None:
    """Computed in float32 from the stored weights; every step uses the frame before it."""
    folder = out / "checkpoints" / name
    config = json.loads((folder / "config.json").read_text())
    _, model = build(config, quantised)
    model.load_weights(str(folder / config["moshi_name"]), strict=True)
    model.set_dtype(mx.float32)
    greedy = utils.Sampler(temp=0)
    gen = models.LmGen(model, len(codes.T), text_sampler=greedy, audio_sampler=greedy)
    tokens, logits, heads = [], [], []
    for frame in codes.T:
        token, out_norm = gen._step(mx.array(frame[None]))
        tokens.append(token.item())
        logits.append(np.array(model.text_linear(out_norm)[0, 0]))
        heads.append([np.array(mx.softmax(h(out_norm), -1)[0, 0]) for h in model.extra_heads])
    stem = name.replace("-", "_")
    save_arrays(
        out / "golden" / f"{stem}.npz",
        codes=codes,
        text_tokens=tokens,
        text_logits=np.stack(logits),
        extra_heads=np.swapaxes(heads, 0, 1),
    )


def make(out: Path) -> None:
    mx.set_default_device(mx.cpu)
    for source, quantised in [("stt-tiny", None), ("stt-q64", "q4"), ("stt-q64", "q8")]:
        golden = np.load(out / "golden" / f"{source.replace('-', '_')}.npz")
        name = make_checkpoint(out, source, quantised)
        make_golden(out, name, quantised, golden["codes"][0])
