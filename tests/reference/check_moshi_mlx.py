"""Whether moshi_mlx reads what dsm-convert writes. By hand, in the reference environment.

    python tests/reference/check_moshi_mlx.py

Converts checkpoints of this folder to the MLX layout and loads them as moshi_mlx does, strictly.
Listeners must say the tokens of the goldens, which moshi_mlx computed from files of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from common import HERE
from moshi_mlx import models, utils

ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import golden as fixtures  # noqa: E402

from dsm_mlx.convert.job import Wanted, convert  # noqa: E402
from dsm_mlx.convert.recipes import blanket  # noqa: E402
from dsm_mlx.convert.source import Source  # noqa: E402

LISTENERS = {
    "stt_tiny_mlx": ("stt-tiny", None),
    "stt_q64_mlx_q4": ("stt-q64", blanket(4)),
    "stt_q64_mlx_q8": ("stt-q64", blanket(8)),
}
# Not tts-tiny-public: moshi_mlx does not know a `text_card_out` other than `text_card`.
SPEAKERS = ("tts-tiny", "tts-tiny-single", "tts-tiny-nativecfg")


def load(folder: Path) -> models.Lm:
    """As moshi_mlx's run_inference.py loads a model."""
    config = json.loads((folder / "config.json").read_text())
    lm_config = models.LmConfig.from_config_dict(config)
    # moshi_mlx fixes both. Only with a cache of exactly the window does it equal PyTorch.
    lm_config.transformer.max_seq_len = config["context"]
    lm_config.transformer.dim_feedforward = int(config["hidden_scale"] * config["dim"])
    model = models.Lm(lm_config)
    model.set_dtype(mx.bfloat16)
    if config["moshi_name"].endswith(".q4.safetensors"):
        nn.quantize(model, bits=4, group_size=32)
    elif config["moshi_name"].endswith(".q8.safetensors"):
        nn.quantize(model, bits=8, group_size=64)
    model.load_weights(str(folder / config["moshi_name"]), strict=True)
    return model


def tokens(model: models.Lm, codes: np.ndarray) -> list[int]:
    model.set_dtype(mx.float32)
    greedy = utils.Sampler(temp=0)
    generator = models.LmGen(model, len(codes.T), text_sampler=greedy, audio_sampler=greedy)
    return [generator._step(mx.array(frame[None]))[0].item() for frame in codes.T]


def main() -> int:
    mx.set_default_device(mx.cpu)
    with tempfile.TemporaryDirectory() as folder:
        for case, (name, recipe) in LISTENERS.items():
            new = convert_to(Path(folder), name, Wanted(recipe=recipe, dtype="bfloat16"))
            golden = fixtures.arrays(case)
            said = tokens(load(new), golden["codes"])
            assert said == golden["text_tokens"].tolist(), case
            print(f"{case}: {len(said)} tokens as in the golden")
        for name in SPEAKERS:
            load(convert_to(Path(folder), name, Wanted()))
            print(f"{name}: loads")
    return 0


def convert_to(folder: Path, name: str, wanted: Wanted) -> Path:
    recipe = f"-{wanted.recipe.name}" if wanted.recipe else ""
    source, new = (
        fixtures.assemble(name, folder / f"{name}{recipe}-source"),
        folder / (name + recipe),
    )
    new.mkdir()
    convert(Source.find(source), new, wanted)
    return new


if __name__ == "__main__":
    sys.exit(main())
