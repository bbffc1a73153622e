"""How bytes and values are spoilt."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_NUMBERS = (0, 1, -1, 2, 7, 255, 256, 1920, 24_000, 65_536, 2**31 - 1, 2**31, 2**63, 2**64, 10**400)
_FLOATS = (0.0, -0.0, 0.5, -1.5, 1e-300, 1e300, math.nan, math.inf, -math.inf)
TEXTS = (
    "", " ", "a", "0", "-1", "nan", "None", "tiny", "../x", "/", "x" * 5000, "\x00", "\ud800",
    "a\nb", "\x1b[31m", "é" * 300, "🙂", "%s%n", "hf://", "hf://a/b/c", "float32", "q8", "'\"",
)  # fmt: skip


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with some damage."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange((min(len(found), 200) if rng.random() < 0.5 else len(found)) or 1)
        how = rng.randrange(6)
        if how == 0:
            del found[at:]
        elif how == 1:
            found[at : at + 1] = bytes([rng.randrange(256)])
        elif how == 2:
            found[at : at + 4] = rng.choice(
                (b"\xff" * 4, b"\0" * 4, b"\0\0\0\x80", b"\x7f\xff\xff\xff")
            )
        elif how == 3:
            found[at:at] = rng.randbytes(rng.randrange(1, 100))
        elif how == 4:
            del found[at : at + rng.randrange(1, 500)]
        else:
            found[at : at + 8] = found[at : at + 8][::-1]
        if not found:
            break
    return bytes(found)


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that somebody may hand in."""
    makers = [
        *_scalars(rng),
        lambda: rng.choice(TEXTS).encode(errors="replace"),
        lambda: Path(rng.choice(TEXTS)),
        lambda: array(rng),
        object,
        lambda: len,
        lambda: range(rng.randrange(5)),
        lambda: complex(1, 2),
    ]
    if depth < 2:
        makers += [
            lambda: [value(rng, depth + 1) for _ in range(rng.randrange(4))],
            lambda: tuple(value(rng, depth + 1) for _ in range(rng.randrange(4))),
            lambda: {str(i): value(rng, depth + 1) for i in range(rng.randrange(3))},
            lambda: iter([value(rng, depth + 1)]),
        ]
    return rng.choice(makers)()


def near(usual: Any, rng: random.Random) -> Any:
    """A value of the kind that is usual in its place, which may be right."""
    if isinstance(usual, (int, float)):
        others = (usual + 1, usual - 1, -usual, usual / 2, 2 * usual, usual * 1000)
        return rng.choice((*others, np.float32(usual), np.int64(usual), str(usual)))
    if isinstance(usual, str):
        return rng.choice((usual + " ", usual * 2, usual.upper(), usual[:1]))
    if isinstance(usual, np.ndarray):
        others = (usual[..., :7], usual[..., :0], -usual, usual * 3)
        return rng.choice((*others, usual.tolist(), usual[None]))
    if isinstance(usual, Path):
        return rng.choice((str(usual), usual / "x", usual.parent, str(usual).encode()))
    return rng.choice((None, 0, 1, 0.5, 2, 8, "a", "float16", [usual]))


def json_value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold, and some that only Python's reads."""
    makers = _scalars(rng)
    if depth < 2:
        makers += [
            lambda: [json_value(rng, depth + 1) for _ in range(rng.randrange(4))],
            lambda: {rng.choice(TEXTS): json_value(rng, depth + 1)},
        ]
    return rng.choice(makers)()


def _scalars(rng: random.Random) -> list[Callable[[], Any]]:
    return [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice(_NUMBERS),
        lambda: rng.choice(_FLOATS),
        lambda: rng.choice(TEXTS),
    ]


def array(rng: random.Random) -> np.ndarray:
    """An array of any type, shape and values."""
    kind = rng.choice(("f2", "f4", "f8", "i1", "u1", "i2", "i4", "i8", "u8", "c8", "?", "U3", "O"))
    shape = rng.choice(
        ((), (0,), (1,), (1920,), (3000, 2), (2, 3000), (100, 40), (1, 1, 1920), (0, 2))
    )
    random_ = np.random.default_rng(rng.randrange(2**32))
    values = random_.standard_normal(shape) * rng.choice((0.1, 1, 100, 1e38))
    if rng.random() < 0.2 and values.size:
        values.reshape(-1)[rng.randrange(values.size)] = rng.choice((math.nan, math.inf))
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(kind)
