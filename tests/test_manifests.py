"""Every official checkpoint, in every layout, is what the loader expects: names, shapes, no more.

A file with the official header and a hole for a body is loaded as a real one would be, but its
arrays stay lazy: no weights are allocated. The loader refuses any difference (see
test_checkpoint_errors.py), so that it loads is the proof.
"""

import json
import math
import struct

import golden as fixtures
import mlx.core as mx
import pytest
from mlx.utils import tree_flatten

from dsm_mlx.errors import CheckpointError
from dsm_mlx.loading import weights
from dsm_mlx.loading.checkpoint import Checkpoint, load_mimi

BYTES = {"F32": 4, "U32": 4, "BF16": 2}
DTYPES = {"float32": "F32", "uint32": "U32", "bfloat16": "BF16"}  # as MLX calls them
FILES = sorted(fixtures.manifests().keys() - {"mimi"})


def write_hollow(path, manifest: dict) -> None:
    """A safetensors file whose tensors take no space on the disk."""
    header, end = {}, 0
    for name, (shape, dtype) in manifest.items():
        dtype = DTYPES.get(dtype, dtype)
        start, end = end, end + math.prod(shape) * BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)


def official(file: str, config: dict) -> dict:
    manifest = dict(fixtures.manifests()[file])
    if file.startswith("tts-0.75b-en-public.mlx"):
        # The one exception: moshi_mlx does not know `text_card_out` and makes text_card rows.
        for leaf in ("weight", "scales", "biases"):
            if entry := manifest.get(f"text_linear.{leaf}"):
                (_, width), dtype = entry
                manifest[f"text_linear.{leaf}"] = [[config["text_card_out"], width], dtype]
    return manifest


@pytest.fixture(autouse=True)
def lazy(monkeypatch):
    monkeypatch.setattr(weights, "bring_in", lambda array, axis=0: True)
    before = mx.get_active_memory()
    yield
    assert mx.get_active_memory() - before < 2**20


@pytest.mark.parametrize("file", FILES)
def test_language_model(tmp_path, file):
    model, _, layout = file.partition(".mlx-")
    config = fixtures.official_config(model)
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_hollow(tmp_path / config["moshi_name"], official(file, config))
    lm = Checkpoint.find(tmp_path, config["model_type"]).load_lm(dtype="bfloat16")
    assert lm.config.dep_q == config["dep_q"]
    assert any(name.endswith(".scales") for name, _ in tree_flatten(lm.parameters())) == (
        layout in ("q4", "q8")
    )


def test_mimi(tmp_path):
    write_hollow(tmp_path / "mimi.safetensors", fixtures.manifests()["mimi"])
    mimi = load_mimi(tmp_path / "mimi.safetensors", None)
    assert mimi.config.n_q == 32


@pytest.mark.parametrize("file", FILES)
def test_each_tensor_is_asked_for(tmp_path, file):
    """The proof's other half: one tensor less, and the loader names it."""
    config = fixtures.official_config(file.partition(".mlx-")[0])
    manifest = official(file, config)
    # Scales are the sign of a quantised module: without them its weight is what is wrong.
    names = sorted(name for name in manifest if not name.endswith(".scales"))
    lost = names[len(names) // 2]
    del manifest[lost]
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_hollow(tmp_path / config["moshi_name"], manifest)
    with pytest.raises(CheckpointError, match=f"missing: {lost} "):
        Checkpoint.find(tmp_path, config["model_type"]).load_lm()
