"""Models whose files are damaged: they are loaded and used, or converted."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import numpy as np

import dsm_mlx
from dsm_mlx.cli.convert import main as convert
from fuzzing.case import Left
from fuzzing.mutations import json_value, spoilt

_PCM = 0.1 * np.sin(np.arange(6000, dtype=np.float32))


def attempt(rng: random.Random, corpus: Path, folder: Path) -> None:
    """Load and use a damaged model, or convert it."""
    kind = rng.choice(("stt", "tts"))
    model = shutil.copytree(corpus / kind, folder / "model")
    for _ in range(rng.choice((1, 1, 1, 2))):
        _damage(rng, model)
    if rng.random() < 0.2:
        _convert(rng, model, folder)
    elif kind == "stt":
        with dsm_mlx.load_stt(model, bits=rng.choice((None, None, 8))) as stt:
            stt.transcribe(_PCM, sample_rate=24_000)
    else:
        with dsm_mlx.load_tts(model) as tts:
            tts.synthesize("Hi", seed=1)


def _damage(rng: random.Random, model: Path) -> None:
    files = sorted(path for path in model.iterdir() if path.is_file())
    path = rng.choice(
        [*files, *(path for path in files if path.suffix == ".json"), *[model / "config.json"] * 3]
    )
    if not path.is_file():
        return
    how = rng.random()
    if path.suffix == ".json" and how < 0.8:
        _change_config(rng, path)
    elif path.suffix == ".safetensors" and how < 0.6:
        _change_header(rng, path)
    elif how < 0.9:
        path.write_bytes(spoilt(path.read_bytes(), rng))
    else:
        path.unlink()
        rng.choice((lambda: None, path.mkdir, path.touch, lambda: os.symlink(path.name, path)))()


def _change_config(rng: random.Random, path: Path) -> None:
    """Another value at some place of it, or none, or one more."""
    try:
        place = values = json.loads(path.read_bytes())
    except ValueError:
        return
    while isinstance(place, dict) and place:
        key = rng.choice(sorted(place))
        if isinstance(place[key], dict) and place[key] and rng.random() < 0.7:
            place = place[key]
            continue
        if rng.random() < 0.15:
            del place[key]
        elif isinstance(place[key], list) and place[key] and rng.random() < 0.6:
            place[key][rng.randrange(len(place[key]))] = json_value(rng)
        elif isinstance(place[key], int) and rng.random() < 0.4:
            place[key] = rng.choice((place[key] + 1, place[key] * 2, -place[key], place[key] // 2))
        else:
            place[key] = json_value(rng)
        break
    try:
        path.write_text(json.dumps(values))
    except ValueError:  # no number of Python's that has so many digits
        path.write_text("1" * 5000)


def _change_header(rng: random.Random, path: Path) -> None:
    """A tensor of another name, shape, type or place; or a header of another length."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    except ValueError:  # damaged before
        return
    name = rng.choice(sorted(header))
    how = rng.randrange(6)
    if how == 0:
        del header[name]
    elif how == 1:
        header[f"{name}.more"] = header[name]
    elif how == 2 and name != "__metadata__":
        header[name]["shape"] = json_value(rng)
    elif how == 3 and name != "__metadata__":
        header[name]["dtype"] = rng.choice(("F16", "BF16", "F64", "I64", "U8", "F8_E4M3", "", 7))
    elif how == 4 and name != "__metadata__":
        header[name]["data_offsets"] = [rng.choice((-1, 0, 8, 10**6, 2**63)), rng.randrange(10**5)]
    else:
        header[name] = json_value(rng)
    try:
        text = json.dumps(header).encode()
    except ValueError:
        text = b"1" * 5000
    length = rng.choice((0, 1, len(text) - 1, 2**40)) if rng.random() < 0.1 else len(text)
    path.write_bytes(length.to_bytes(8, "little") + text + body)


def _convert(rng: random.Random, model: Path, folder: Path) -> None:
    """What is not converted leaves nothing."""
    layout, small = ["--layout", "pytorch"], ["--dtype", "float16"]
    wanted = rng.choice(([], ["-q", "--q-bits", "8"], layout, small))
    before = {path.name for path in folder.iterdir()}
    try:
        status = convert([str(model), str(folder / "made"), *wanted])
    except SystemExit as error:
        status = error.code
    left = {path.name for path in folder.iterdir()} - before
    if left - {"made"} or (status and left):
        raise Left(f"status {status}, and there are {sorted(left)}")
    if status not in (0, 1, 2):
        raise RuntimeError(f"status {status}")
