"""Sampling: repeatable row by row, and distributed as it should be."""

import mlx.core as mx
import numpy as np
import pytest

from dsm_mlx.lm.sampling import gumbel, row_keys, sample, split


def draw(logits, temperature, seeds, top_k=0):
    """One token for each seed from the same logits (card,)."""
    rows = mx.broadcast_to(mx.array(logits, mx.float32), (len(seeds), len(logits)))
    noise = gumbel(row_keys(seeds), len(logits))
    return np.array(sample(rows, mx.full((len(seeds),), temperature), noise, top_k))


def test_temperature_0_is_the_largest():
    logits = mx.random.normal((50, 40), key=mx.random.key(3))
    noise = gumbel(row_keys(list(range(50))), 40)
    tokens = sample(logits, mx.zeros(50), noise, 5)
    assert mx.array_equal(tokens, mx.argmax(logits, axis=-1).astype(mx.int32))


@pytest.mark.parametrize("temperature", [0.6, 1.5])
def test_tokens_follow_the_softmax(temperature):
    logits = np.array([2.0, 1.0, 0.0, -1.0, 1.5])
    tokens = draw(logits, temperature, range(20_000))
    expected = np.exp(logits / temperature)
    expected /= expected.sum()
    found = np.bincount(tokens, minlength=5) / len(tokens)
    np.testing.assert_allclose(found, expected, atol=0.015)  # four standard deviations


def test_only_the_largest_k_are_drawn():
    logits = np.array([5.0, 1.0, 4.9, -3.0, 4.8, 0.0])
    assert set(draw(logits, 5.0, range(500), top_k=3)) == {0, 2, 4}
    assert set(draw(logits, 5.0, range(500), top_k=6)) == set(range(6))


def test_a_row_does_not_depend_on_its_neighbours():
    logits = np.linspace(0, 1, 30)
    alone = [draw(logits, 1.0, [seed])[0] for seed in (7, 8, 9)]
    assert list(draw(logits, 1.0, [7, 8, 9])) == alone
    assert list(draw(logits, 1.0, [9, 1, 7])) == [alone[2], draw(logits, 1.0, [1])[0], alone[0]]


def test_rows_may_have_temperatures_of_their_own():
    logits = mx.broadcast_to(mx.array([1.0, 0.9, 0.0]), (400, 3))
    cold = mx.arange(400) % 2 == 0
    noise = gumbel(row_keys(list(range(400))), 3)
    tokens = np.array(sample(logits, mx.where(cold, 0.0, 2.0), noise, 0))
    assert set(tokens[::2]) == {0}
    assert set(tokens[1::2]) == {0, 1, 2}


def test_keys_lead_to_new_keys():
    keys = split(row_keys([1, 1, 2]), 3)
    assert keys.shape == (3, 3, 2)
    assert mx.array_equal(keys[0], keys[1]) and not mx.array_equal(keys[0], keys[2])
    assert len({tuple(key) for key in keys[0].tolist()}) == 3


def test_noise_is_finite_even_at_the_ends():
    assert mx.all(mx.isfinite(gumbel(row_keys([0]), 2_000_000)))


def test_all_of_it_can_be_compiled():
    def step(keys, logits):
        parts = split(keys, 2)
        return sample(logits, mx.ones(2), gumbel(parts[:, 0], 8), 4), parts[:, 1]

    keys, logits = row_keys([3, 4]), mx.random.normal((2, 8), key=mx.random.key(0))
    for plain, compiled in zip(step(keys, logits), mx.compile(step)(keys, logits), strict=True):
        assert mx.array_equal(plain, compiled)
