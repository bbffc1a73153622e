"""What all fixtures share: the test signal, tokenizers, the published layout, compact files."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import sentencepiece
import torch

HERE = Path(__file__).parent

# Keys of config.json that do not describe the language model.
NOT_LM = {
    "moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name", "model_type",
    "lm_gen_config", "tts_config", "stt_config", "model_id",
}  # fmt: skip


def official_config(model: str) -> dict:
    return json.loads((HERE / "configs" / f"{model}.json").read_text())


def test_signal(samples: int, seed: int, batch: int = 1) -> torch.Tensor:
    """Sweeps, gated tones and noise, different in each row: (batch, 1, samples) at 24 kHz."""
    noise = torch.Generator().manual_seed(seed)
    t = torch.arange(samples) / 24000
    rows = []
    for row in range(batch):
        vibrato = 1 + 0.3 * torch.sin(2 * math.pi * 0.7 * t)
        x = 0.3 * torch.sin(2 * math.pi * (180 + 40 * row) * t * vibrato)
        gate = (torch.sin(2 * math.pi * 1.3 * t + row) > 0).float()
        x += 0.2 * torch.sin(2 * math.pi * (900 + 130 * row) * t) * gate
        swell = 0.5 + 0.5 * torch.sin(2 * math.pi * 0.9 * t + 1)
        x += 0.08 * torch.randn(samples, generator=noise) * swell
        rows.append(x)
    return torch.stack(rows)[:, None]


def train_tokenizer(path: Path, vocab: int) -> None:
    """A small unigram tokenizer; `identity` leaves out 240 kB of Unicode tables."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter((HERE / "text.txt").read_text().splitlines()),
        model_writer=model,
        vocab_size=vocab,
        model_type="unigram",
        normalization_rule_name="identity",
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=3,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def published_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Join the modules' per-step projections into the tensors that Kyutai's files hold.

    The inverse of `StreamingMultiheadAttention._load_hook`.
    """
    joined, steps = {}, {}
    for name, value in state.items():
        found = re.fullmatch(r"(.*)\.(in|out)_projs\.(\d+)\.weight", name)
        if found:
            end = "in_proj_weight" if found[2] == "in" else "out_proj.weight"
            steps.setdefault(f"{found[1]}.{end}", {})[int(found[3])] = value
        else:
            joined[name] = value
    for name, parts in steps.items():
        joined[name] = torch.cat([parts[i] for i in range(len(parts))])
    return joined


def save_arrays(path: Path, **arrays) -> None:
    """A compressed npz: integers as int32, reals as float32."""
    packed = {}
    for name, value in arrays.items():
        if isinstance(value, torch.Tensor):
            value = value.detach()
            value = (value.float() if value.is_floating_point() else value).numpy()
        value = np.asarray(value)
        kind = {"i": np.int32, "f": np.float32}.get(value.dtype.kind, value.dtype)
        packed[name] = value.astype(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **packed)


def save_json(path: Path, value, indent: int | None = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=indent) + "\n")
