"""What a loaded model is, for people and for whoever must know whether two are the same."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict

import mlx.nn as nn

from dsm_mlx.files import safetensors
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.tensors import flat
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.lora import LoraFile
from dsm_mlx.loading.quantization import QUANTIZED
from dsm_mlx.results import ModelInfo
from dsm_mlx.runtime.device import on_cpu


def languages_of(config: ConfigReader) -> tuple[str, ...]:
    """As two letters each: from the config, or else from the tokenizer's name, as in
    tokenizer_en_fr_audio_8000.model."""
    listed = config.section("stt_config", {}).strings("languages", 1000, [])
    if listed:
        return tuple(listed)
    end = config.get("tokenizer_name", str, "")[-200:]  # a name without end would take as long
    match = re.search(r"_((?:[a-z]{2}_)+)audio", end)
    return tuple(match[1].strip("_").split("_")) if match else ("en",)


def model_info(
    lm: MultistreamLM, codec: nn.Module, *, name, kind, codebooks, delay, languages
) -> ModelInfo:
    """What a loaded model is. name, kind, codebooks, delay, languages: as `ModelInfo` has them."""
    modules = [module for model in (lm, codec) for module in model.modules()]
    quantized = [module for module in modules if isinstance(module, QUANTIZED)]
    arrays = [array for model in (lm, codec) for _, array in flat(model.parameters())]
    packed = sum(m.weight.size * (32 // m.bits - 1) for m in quantized)
    scales = sum(m[part].size for m in quantized for part in ("scales", "biases") if part in m)
    return ModelInfo(
        name=name,
        kind=kind,
        parameters=sum(array.size for array in arrays) + packed - scales,
        bytes=sum(array.nbytes for array in arrays),
        bits=min((module.bits for module in quantized), default=None),
        codebooks=codebooks,
        context=lm.config.transformer.context / codec.config.frame_rate,
        delay=delay,
        languages=tuple(languages),
    )


def _of_lora(lora: LoraFile) -> dict:
    header = safetensors.read_header(lora.path)
    shapes = {name: [list(t.shape), t.dtype] for name, t in header.tensors.items()}
    return {"tensors": shapes, "bytes": lora.path.stat().st_size, "scaling": lora.scaling}


def fingerprint(checkpoint: Checkpoint, lm: MultistreamLM) -> str:
    """What two loaded models have in common whose states can be exchanged: the config, the names,
    shapes and places of the tensors, the bits, dtype and cache, and the kind of device."""
    header = checkpoint.weights.header
    modules = [m for m in lm.modules() if isinstance(m, QUANTIZED)]
    parts = {
        "config": checkpoint.config.values,
        "tensors": {name: [list(t.shape), t.dtype] for name, t in header.tensors.items()},
        "metadata": header.metadata,
        "bits": sorted({(module.bits, module.group_size) for module in modules}),
        "dtype": str(lm.dtype),
        "cache": lm.cache,
        "lm": asdict(lm.config),
        "device": "cpu" if on_cpu() else "gpu",
    }
    if checkpoint.lora:
        parts["lora"] = _of_lora(checkpoint.lora)
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
