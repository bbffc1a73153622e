"""Sound on disk -> codes on disk, shard by shard, with the codec of a checkpoint folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from speech import sessions, shards

_AT_ONCE = {"cpu": 2, "cuda": 10}  # sessions in one call
DECODED = "decoded"  # a split that is made of another's codes
_DECODED_OF = 4
_STRETCH = 25 * 1920  # samples that a CPU's cache holds with what the convolutions make of them


def encode_all(
    folder: Path,
    split: str,
    codec: torch.nn.Module,
    minutes: float,
    log: Callable[[str], None],
    keep_sound: bool = True,
) -> bool:
    """Encode every shard that has no codes yet; returns whether all have them.

    keep_sound: False removes the sound of a shard once its codes are written.
    """
    end, began, done = time.monotonic() + 60 * minutes, time.monotonic(), 0
    for path in shards.found(folder, split):
        if not codes_path(path).exists():
            if time.monotonic() > end:
                return False
            done += codes_of(path, codec).shape[0] * sessions.SECONDS
            log(f"encode {path.name}: {done / (time.monotonic() - began):.0f} times real time")
        if not keep_sound:
            path.unlink()
    return True


def decode_again(
    folder: Path, codec: torch.nn.Module, minutes: float, log: Callable[[str], None]
) -> bool:
    """Codes of what the codec itself made of every fourth shard of the preset voices.

    Speech to text that has heard these understands text to speech better. Returns whether all
    are there.
    """
    end = time.monotonic() + 60 * minutes
    for number, path in enumerate(shards.found(folder, "tts", "codes")[::_DECODED_OF]):
        target = shards.path_of(folder, DECODED, number, "codes")
        if target.exists():
            continue
        if time.monotonic() > end:
            return False
        shard = np.load(path)
        _save(target, encode(codec, decode(codec, shard["codes"])), shard)
        log(f"decoded {path.name} and encoded it again")
    return True


def codes_path(path: Path) -> Path:
    return path.with_name(path.name.replace(".pcm.", ".codes."))


def codes_of(path: Path, codec: torch.nn.Module) -> np.ndarray:
    """The codes of a shard of sound; the first time they are written beside it."""
    target = codes_path(path)
    if not target.exists():
        shard = np.load(path)
        _save(target, encode(codec, shard["pcm"]), shard)
    return np.load(target)["codes"]


def _save(path: Path, codes: np.ndarray, labelled: np.lib.npyio.NpzFile) -> None:
    """Codes, and the labels of the shard that they were made of."""
    labels = {name: labelled[name] for name in ("phones", "words", "speakers")}
    shards.save(path, codes=codes, **labels)


def encode(codec: torch.nn.Module, pcm: np.ndarray) -> np.ndarray:
    """int16 (n, samples) -> uint16 codes (n, n_q, frames)."""
    sound = torch.from_numpy(shards.to_float(pcm))[:, None]
    return _in_parts(codec, partial(_codes, codec), sound).astype(np.uint16)


def decode(codec: torch.nn.Module, codes: np.ndarray) -> np.ndarray:
    """uint16 (n, n_q, frames) -> int16 (n, samples)."""
    sound = _in_parts(codec, codec.decode, torch.from_numpy(codes.astype(np.int64)))
    return shards.to_int16(sound[:, 0].clip(-1, 1))


def _in_parts(
    codec: torch.nn.Module, compute: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor
) -> np.ndarray:
    """What the codec computes of some rows at a time, on its own device."""
    device = next(codec.parameters()).device
    with torch.no_grad():
        parts = [compute(part.to(device)).cpu() for part in rows.split(_AT_ONCE[device.type])]
    return torch.cat(parts).numpy()


def _codes(codec: torch.nn.Module, pcm: torch.Tensor) -> torch.Tensor:
    """What `codec.encode` gives, half as fast again: the convolutions take a stretch at a time."""
    with codec.encoder.streaming(len(pcm)):
        x = torch.cat([codec.encoder(part) for part in pcm.split(_STRETCH, -1)], -1)
    (x,) = codec.encoder_transformer(x)
    return codec.quantizer.encode(codec.downsample(x))
