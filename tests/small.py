"""Very small checkpoints of random weights, whose steps take a millisecond or two.

They speak nonsense, but different nonsense for different input, which is what tests of sessions,
threads and exits need.
"""

import json
import shutil
from pathlib import Path

import golden as fixtures
import mlx.core as mx
from mlx.utils import tree_flatten

from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.codec.config import MimiConfig
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.files import weight_map
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.model import MultistreamLM

CODEBOOKS, CARD = 4, 16
CODEC = {
    "seanet": {"dimension": 16, "n_filters": 2},
    "quantizer": {"dimension": 8, "n_q": CODEBOOKS, "bins": CARD},
    "transformer": {"d_model": 16, "num_heads": 2, "num_layers": 1, "dim_feedforward": 16},
}
LM = {
    "dim": 32, "num_heads": 2, "num_layers": 1, "n_q": CODEBOOKS, "card": CARD, "hidden_scale": 2.0,
}  # fmt: skip


def checkpoint(name: str, folder: Path, **changes) -> Path:
    """A folder with a model like the fixture `name`, but smaller, and with the same voices.

    changes: of the config. Keys and values can be kept in 8 bits with num_heads=1, which makes a
    head 32 wide.
    """
    source = fixtures.CHECKPOINTS / name
    folder.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text()) | LM | changes
    config["delays"] = [0] * (1 + CODEBOOKS)
    if config["dep_q"]:
        config["delays"] = [0, 0] + [1] * (CODEBOOKS - 1)
        config |= {"dep_q": CODEBOOKS, "depformer_num_layers": 1, "depformer_dim": 16}
        config |= {"depformer_num_heads": 2, "depformer_dim_feedforward": 24}
        config["depformer_weights_per_step_schedule"] = [0, 1, 2, 2]
        if "control" in config["conditioners"]:
            config["conditioners"]["control"]["lut"]["dim"] = LM["dim"]
        for voice in source.glob("voice*"):
            shutil.copy(voice, folder)
    codec = json.loads((fixtures.CHECKPOINTS / "mimi-tiny/mimi_config.json").read_text())
    for part, values in CODEC.items():
        codec[part] |= values
    codec["quantizer"] |= {"input_dimension": 16, "output_dimension": 16}
    codec["transformer"] |= {"input_dimension": 16, "output_dimensions": [16]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / config["mimi_config_name"]).write_text(json.dumps(codec))
    tokenizer = config["tokenizer_name"]
    shutil.copy(fixtures.CHECKPOINTS / "tokenizers" / tokenizer, folder)
    lm = MultistreamLM(LmConfig.read(ConfigReader(config, "a very small model")))
    _save(folder / config["moshi_name"], lm, lm_layout.layout_of(lm, "mlx"))
    mimi = MimiModel(MimiConfig.read(ConfigReader(codec, "a very small codec")))
    _save(folder / config["mimi_name"], mimi, codec_layout.pytorch(mimi))
    return folder


def _save(path: Path, model, layout) -> None:
    parameters = {}
    for i, (name, array) in enumerate(sorted(tree_flatten(model.parameters()))):
        if "norm" in name or "scale" in name:
            parameters[name] = array
            continue
        noise = mx.random.normal(array.shape, key=mx.random.key(i))
        narrow = array.ndim < 2 or "emb" in name
        parameters[name] = noise * (0.5 if narrow else 1.5 * array.shape[-1] ** -0.5)
    tensors = weight_map.save(layout, parameters)
    mx.save_safetensors(str(path), {name: mx.contiguous(a) for name, a in tensors.items()})
