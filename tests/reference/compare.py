"""Do two folders of fixtures say the same? Integers exactly, reals within 1e-5."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

SUFFIXES = {".npz", ".safetensors", ".json", ".gz"}


def read(path: Path) -> dict:
    if path.suffix == ".npz":
        return dict(np.load(path))
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        return {k: (v.float() if v.is_floating_point() else v).numpy() for k, v in tensors.items()}
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return {"": json.loads(text)}


def same(a, b) -> bool:
    if not isinstance(a, np.ndarray):
        return a == b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    tolerance = 1e-5 if a.dtype.kind == "f" else 0
    return np.allclose(a, b, rtol=tolerance, atol=tolerance)


def differences(made: Path, kept: Path):
    for path in sorted(made.rglob("*.*")):
        if path.suffix not in SUFFIXES:
            continue
        name = path.relative_to(made)
        if not (kept / name).exists():
            yield f"{name}: not here"
            continue
        new, old = read(path), read(kept / name)
        for key in sorted(new.keys() | old.keys()):
            if key not in new or key not in old or not same(new[key], old[key]):
                yield f"{name} {key}".rstrip()


def report(made: Path, kept: Path) -> int:
    found = list(differences(made, kept))
    for line in found:
        print("differs:", line)
    if not found:
        print("the same", file=sys.stderr)
    return 1 if found else 0
