"""Finds the fixtures in tests/reference and puts whole checkpoint folders together."""

import gzip
import json
import shutil
from functools import cache
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).parent / "reference"
CHECKPOINTS = REFERENCE / "checkpoints"


def arrays(case: str, root: Path = REFERENCE) -> dict[str, np.ndarray]:
    with np.load(root / "golden" / f"{case}.npz") as file:
        return dict(file)


def meta(case: str, root: Path = REFERENCE) -> dict:
    """The settings and the script of a text-to-speech case."""
    return json.loads((root / "golden" / f"{case}.json").read_text())


def official_config(model: str) -> dict:
    return json.loads((REFERENCE / "configs" / f"{model}.json").read_text())


@cache
def manifests() -> dict[str, dict]:
    return json.loads(gzip.decompress((REFERENCE / "manifests.json.gz").read_bytes()))


def assemble(name: str, folder: Path) -> Path:
    """Copy checkpoint `name` to `folder`, as Kyutai would publish it: with Mimi and tokenizer.

    Copies, not links: tests may damage what they get.
    """
    source = CHECKPOINTS / name
    shutil.copytree(source, folder)
    config = json.loads((source / "config.json").read_text())
    shared = {
        "mimi_name": CHECKPOINTS / "mimi-tiny/mimi.safetensors",
        "mimi_config_name": CHECKPOINTS / "mimi-tiny/mimi_config.json",
        "tokenizer_name": CHECKPOINTS / "tokenizers" / config["tokenizer_name"],
    }
    for key, file in shared.items():
        shutil.copy(file, folder / config[key])
    return folder


def edit_json(path: Path, change) -> dict:
    """Apply `change` to the object in a JSON file; the object as it is then."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))
    return values
