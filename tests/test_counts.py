"""Kernels and bytes of a frame at the official shapes: they cannot creep up unseen.

The limits are of the plain path of one stream, with the check for values that are not finite and
the confidence of words. A GPU spends some microseconds on every kernel, whatever it does.
"""

import pytest
from benchmark import counts, models
from benchmark.graph import count, fuses, hollow
from mlx import core as mx

pytestmark = pytest.mark.skipif(not fuses(), reason="MLX fuses nothing here: g++ is missing")

# shape, bits: the most kernels in all and of some parts, and the most MB read.
LIMITS = {
    ("stt-1b", None): ({"codec": 265, "in all": 456}, 1915),
    ("stt-1b", 8): ({"in all": 498}, 1130),
    ("stt-1b", 4): ({"codec": 265, "in all": 498}, 762),
    ("stt-2.6b", None): ({"in all": 774}, 5190),
    ("stt-2.6b", 4): ({"in all": 880}, 1787),
    ("tts-1.6b", None): ({"depth decoder": 1344, "codec": 144, "in all": 1755}, 5015),
    ("tts-1.6b", 8): ({"in all": 2075}, 2750),
    ("tts-1.6b", 4): ({"depth decoder": 1600, "codec": 144, "in all": 2075}, 1720),
    ("tts-0.75b", None): ({"codec": 144, "in all": 1094}, 2400),
    ("tts-0.75b", 4): ({"codec": 144, "in all": 1286}, 900),
}


@pytest.mark.parametrize(("shape", "bits"), LIMITS)
def test_kernels_and_bytes_of_a_frame(shape, bits):
    limits, most = LIMITS[shape, bits]
    parts = counts.of_shape(shape, bits)
    found = {part: parts[part].compiled for part in limits}
    assert all(found[part] <= limit for part, limit in limits.items()), found
    assert not parts["in all"].copies and parts["in all"].waits == 1
    assert parts["in all"].read / 1e6 <= most


def test_every_official_shape_is_counted():
    official = {name for name in models.NAMES if not name.endswith("small")}
    assert {shape for shape, _ in LIMITS} == official


def test_what_is_counted():
    """By hand: a product, a fused chain, a copy of each part of a concatenation, a write."""
    x, weight, kept = hollow((mx.zeros((1, 8)), mx.zeros((8, 8)), mx.zeros((4, 8))))

    def step(x, kept):
        y = x @ weight
        z = mx.concatenate([y * 2 + 1, y], axis=0)
        before = mx.fast.rms_norm(kept, None, 1e-5)
        kept[1:2] = y
        return z, kept, before

    found = count(step, x, kept)
    assert found.compiled == 1 + 1 + 2 + 1 + 1
    assert found.raw == 1 + 2 + 2 + 1 + 1
    assert found.copies == 1  # it is read as it was before
    assert found.read == 4 * (8 + 64) + 4 * 16 + 4 * 8 + 4 * 32
