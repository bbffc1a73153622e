"""Kyutai's own modules (package `moshi`), made from the configs of a checkpoint folder.

What is trained is therefore what everybody runs, and exporting is only saving.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from pathlib import Path

os.environ.setdefault("NO_TORCH_COMPILE", "1")  # moshi compiles small functions otherwise

import torch
from moshi.models.loaders import get_mimi, get_moshi_lm
from safetensors.torch import load_file, save_file
from torch import nn

CODEC_WEIGHTS, CODEC_CONFIG = "mimi.safetensors", "mimi_config.json"
LM_WEIGHTS, LM_CONFIG = "model.safetensors", "config.json"
TOKENIZER = "tokenizer.model"
# moshi's modules hold a projection for each step, in ascending order.
_PROJECTION = re.compile(r"(.*\.)(in|out)_projs\.\d+\.weight")
# Keys of a config.json that are not arguments of the model.
_OUTSIDE = (
    *("model_type", "languages", "lm_gen_config", "tts_config", "stt_config", "model_id"),
    *("moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name"),
)


def read_config(path: Path) -> dict:
    return json.loads(path.read_text())


def codec(config: dict, *, training: dict | None = None, device: str = "cpu") -> nn.Module:
    """A Mimi of this config.

    training: settings of a quantiser that learns; with them the convolutions are weight-normed.
    """
    config = copy.deepcopy(config)
    if training is not None:
        config["quantizer"].update(training)
        config["seanet"]["norm"] = "weight_norm"
    return get_mimi(None, config, device=device, num_codebooks=config["quantizer"]["n_q"])


def copy_of(model: nn.Module, config: dict) -> nn.Module:
    """A copy of a codec in training, on the CPU."""
    plain = codec(config, training={})
    plain.load_state_dict({name: w.cpu() for name, w in model.state_dict().items()})
    return plain.requires_grad_(False)


def fold_norms(model: nn.Module) -> nn.Module:
    """Multiply weight norms into the weights."""
    for module in model.modules():
        if hasattr(module, "weight_g"):
            nn.utils.remove_weight_norm(module)
    return model


def load_codec(folder: Path, device: str = "cpu") -> nn.Module:
    """The codec of a checkpoint folder, to be used and not trained."""
    model = codec(read_config(folder / CODEC_CONFIG), device=device)
    model.load_state_dict(load_file(folder / CODEC_WEIGHTS, device=device))
    return model.eval().requires_grad_(False)


def language_model(config: dict, device: str = "cpu") -> nn.Module:
    """A multistream model of a config.json, in float32, with weights to be trained."""
    arguments = {k: copy.deepcopy(v) for k, v in config.items() if k not in _OUTSIDE}
    model = get_moshi_lm(None, arguments, device=device, dtype=torch.float32)
    return model.train().requires_grad_(True)


def load_weights(model: nn.Module, path: Path) -> None:
    """Weights of a published file into a model that computes in float32."""
    model.load_state_dict({name: w.float() for name, w in load_file(path).items()})


def published(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of Kyutai's files: an attention's projections for all steps in one tensor."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        match = _PROJECTION.fullmatch(name)
        if match is None:
            found[name] = weight
            continue
        joined = match[1] + ("in_proj_weight" if match[2] == "in" else "out_proj.weight")
        found[joined] = torch.cat([found[joined], weight]) if joined in found else weight
    return found


def save_weights(model: nn.Module, path: Path, half: bool = False) -> None:
    """A file as Kyutai publishes it, written whole or not at all.

    half: bfloat16, except the conditioners, which are computed in float32.
    """
    weights = {}
    for name, w in published(model.state_dict()).items():
        if half and w.is_floating_point() and not name.startswith("condition_provider."):
            w = w.to(torch.bfloat16)
        weights[name] = w.detach().cpu().contiguous().clone()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".partial")
    save_file(weights, draft)
    draft.replace(path)


def save_checkpoint(
    folder: Path, model: nn.Module, config: dict, codec: Path, tokenizer: Path
) -> None:
    """A checkpoint folder as Kyutai publishes it, with the codec of the folder `codec`."""
    save_weights(model, folder / LM_WEIGHTS, half=True)
    (folder / LM_CONFIG).write_text(json.dumps(config, indent=1) + "\n")
    for name in (CODEC_WEIGHTS, CODEC_CONFIG):
        shutil.copyfile(codec / name, folder / name)
    shutil.copyfile(tokenizer, folder / TOKENIZER)
