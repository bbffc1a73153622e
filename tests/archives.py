"""Folders of recordings made on the spot, and what is heard in them."""

import json

import numpy as np
import soundfile

import dsm_mlx
from dsm_mlx import Transcript

RATE = 24_000


def make(folder, count=8, seconds=3.0, rate=RATE):
    """`count` different recordings in sub-folders, of noise, in which very small models hear words;
    returns them by the names of their results."""
    rng, made = np.random.default_rng(1), {}
    for index in range(count):
        path = folder / "abc"[index % 3] / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * rng.standard_normal(round(seconds * rate)), rate)
        made[f"{path.parent.name}/{path.stem}"] = path
    return made


def heard(model, made):
    """What a model of this process hears in each, by name, without pauses."""
    with dsm_mlx.load_stt(model) as stt:
        found = stt.transcribe([str(path) for path in made.values()])
    return {
        name: Transcript(each.text, each.words, duration=each.duration).to_dict()
        for name, each in zip(made, found, strict=True)
    }


def written(folder):
    """The JSON results in a folder, by name."""
    return {
        str(path.relative_to(folder).with_suffix("")): json.loads(path.read_text())
        for path in folder.rglob("*.json")
    }


def marks(folder):
    """What changes when a result is written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.json")}


def failures(folder):
    """path -> reason, of failures.jsonl."""
    lines = (folder / "failures.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    assert len({failure["path"] for failure in found}) == len(found)
    return {failure["path"]: failure["reason"] for failure in found}
