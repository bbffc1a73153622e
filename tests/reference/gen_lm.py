"""Checkpoints of language models: random weights in the layout that Kyutai publishes."""

import copy
import json
import math
import os
import re
from pathlib import Path

import torch
from common import NOT_LM, published_layout, save_json, train_tokenizer
from moshi.models import loaders
from moshi.models.lm import LMModel
from safetensors.torch import save_file

MOST_PIECES = 160  # what text.txt is enough for
F32 = ("condition_provider", "fuser")  # the rest of a published file is bfloat16


def random_value(name: str, p: torch.Tensor, g: torch.Generator) -> torch.Tensor:
    noise = torch.randn(p.shape, generator=g)
    if name.endswith("alpha") or "norm_cross.weight" in name:
        return 1 + 0.25 * noise
    if "norm_cross.bias" in name:
        return 0.2 * noise
    if "learnt_padding" in name:
        return 0.5 * noise
    if re.search(r"emb(\.\d+)?\.weight$|embed\.weight$", name):
        return 0.6 * noise
    return noise * (1.3 / math.sqrt(p.shape[-1]))


def build(config: dict, weights: Path | None = None, **kwargs) -> LMModel:
    # A copy: the reference writes into the nested dictionaries.
    lm = {k: v for k, v in copy.deepcopy(config).items() if k not in NOT_LM}
    return loaders.get_moshi_lm(weights, lm, **kwargs)


@torch.no_grad()
def make_checkpoint(out: Path, name: str, config: dict, seed: int, text_boost: float = 1) -> Path:
    """Write the folder without Mimi and the tokenizer: all folders share those.

    `text_boost` makes the boundary and padding tokens likely, as a TTS script needs them.
    """
    lm = build(config, dtype=torch.float32)
    g = torch.Generator().manual_seed(seed)
    for key, p in lm.named_parameters():
        p.copy_(random_value(key, p, g))
    for token in (0, 3):
        lm.text_linear.weight[token] *= text_boost
    folder = out / "checkpoints" / name
    save_json(folder / "config.json", config)
    state = {}
    for key, value in published_layout(lm.state_dict()).items():
        dtype = torch.float32 if key.startswith(F32) else torch.bfloat16
        state[key] = value.to(dtype).contiguous().clone()
    save_file(state, folder / config["moshi_name"])
    tokenizer = out / "checkpoints/tokenizers" / config["tokenizer_name"]
    if not tokenizer.exists():
        tokenizer.parent.mkdir(parents=True, exist_ok=True)
        train_tokenizer(tokenizer, min(config["text_card"], MOST_PIECES))
    return folder


def make_whole(out: Path, name: str, config: dict, seed: int, text_boost: float = 1) -> Path:
    """An official shape with all its files, as links; its Mimi is that of `mimi_full`."""
    folder = make_checkpoint(out, name, config, seed, text_boost)
    shared = out / "checkpoints"
    for file, new in [
        (shared / "mimi-full/mimi.safetensors", folder / config["mimi_name"]),
        (shared / "tokenizers" / config["tokenizer_name"], folder / config["tokenizer_name"]),
    ]:
        new.unlink(missing_ok=True)
        os.link(file, new)
    return folder


def open_checkpoint(folder: Path) -> loaders.CheckpointInfo:
    """Through the official loader. Small checkpoints share a Mimi; an official one has its own."""
    config = json.loads((folder / "config.json").read_text())
    small, mimi = folder.parent / "mimi-tiny", folder / config["mimi_name"]
    whole = mimi.exists()
    return loaders.CheckpointInfo.from_hf_repo(
        "none",
        moshi_weights=folder / config["moshi_name"],
        mimi_weights=mimi if whole else small / "mimi.safetensors",
        tokenizer=folder.parent / "tokenizers" / config["tokenizer_name"],
        config_path=folder / "config.json",
        mimi_config_path=None if whole else small / "mimi_config.json",
    )
