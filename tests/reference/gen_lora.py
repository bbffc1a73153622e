"""LoRA: what the reference fuses into a model, and what the model says then.

The files lie beside the base that they are for; `lora` in the name of a tensor is the reference's.
"""

from functools import partial
from pathlib import Path

import torch
from common import save_arrays, save_json
from gen_lm import build, open_checkpoint
from gen_stt import CONFIG as STT
from gen_stt import random_codes, run_doubled
from gen_tts import CONFIG as TTS
from gen_tts import ONE, make_case
from moshi.models.lm import LMModel
from safetensors.torch import save_file

RANK, SCALING = 4, 1.5
SHAPE = {"lora": True, "lora_rank": RANK, "lora_scaling": SCALING}
NAME = "lora.safetensors"


def make_lora(folder: Path, config: dict, seed: int) -> None:
    """Every linear map has one, called as the reference's module is; bfloat16 as the weights."""
    lm = build(config | SHAPE, dtype=torch.float32)
    g = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in lm.state_dict().items():
        if "lora_" in name:
            noise = torch.randn(value.shape, generator=g) * 0.5 * value.shape[-1] ** -0.5
            state[name] = noise.to(torch.bfloat16)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / NAME)
    save_json(folder / "config.json", SHAPE)


def fused(base: Path, lora: Path, config: dict, dtype: torch.dtype) -> LMModel:
    """As the reference's server loads it with `--fuse-lora`."""
    return build(
        config | SHAPE,
        base / config["moshi_name"],
        dtype=dtype,
        lora_weights=lora / NAME,
        fuse_lora=True,
    )


def some_weights(lm: LMModel) -> dict[str, torch.Tensor]:
    """One of each kind, to be compared value by value."""
    state, found = lm.state_dict(), {}
    for name in (
        "transformer.layers.1.self_attn.in_projs.0.weight",
        "transformer.layers.0.gating.linear_out.weight",
        "text_linear.weight",
        "extra_heads.2.weight",
        "depformer.layers.0.self_attn.in_projs.3.weight",
        "depformer_in.1.weight",
    ):
        if name in state:
            found[f"weight {name}"] = state[name]
    return found


def make_listener(out: Path) -> None:
    base, lora = out / "checkpoints/stt-tiny", out / "checkpoints/lora-stt-tiny"
    make_lora(lora, STT, 61)
    lm = fused(base, lora, STT, torch.float32)
    narrow = fused(base, lora, STT, torch.bfloat16)
    codes = random_codes(3, STT, 40)
    arrays = run_doubled(lm, codes) | some_weights(lm)
    arrays |= {f"bf16 {name}": value for name, value in some_weights(narrow).items()}
    del arrays["dbl_text_logits"], arrays["dbl_extra_heads"]
    save_arrays(out / "golden/lora_stt.npz", codes=codes, **arrays)


def make_speaker(out: Path) -> None:
    base, lora = out / "checkpoints/tts-tiny", out / "checkpoints/lora-tts-tiny"
    make_lora(lora, TTS, 62)
    info = open_checkpoint(base)
    info.lora_weights, info.lm_config = lora / NAME, info.lm_config | SHAPE
    info.get_moshi = partial(info.get_moshi, fuse_lora=True)
    make_case(base, TTS, "lora_tts", [ONE], [[0]], cond_cfg=2.0, info=info)


@torch.no_grad()
def make(out: Path) -> None:
    make_listener(out)
    make_speaker(out)
