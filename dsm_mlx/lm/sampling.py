"""Choosing tokens from logits, on the device and repeatable row by row.

Every row has its own key and temperature, so what a row draws depends on its seed alone and not
on its neighbours in the batch. Keys are values that go in and come out of a step: MLX's own
random state belongs to one thread and is not used.
"""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx


def row_keys(seeds: list[int]) -> mx.array:
    """One random key for each row, uint32 (batch, 2). Equal seeds give equal keys."""
    return mx.stack([mx.random.key(seed) for seed in seeds])


def split(keys: mx.array, parts: int) -> mx.array:
    """Independent keys from each row's key: uint32 (batch, 2) -> (batch, parts, 2)."""
    return mx.vmap(lambda key: mx.random.split(key, parts))(keys)


def gumbel(keys: mx.array, count: int) -> mx.array:
    """Gumbel-distributed noise for each row: keys uint32 (batch, 2) -> float32 (batch, count)."""
    # Away from 0, because 0 * inf must not arise at temperature 0.
    uniform = mx.vmap(lambda key: mx.random.uniform(1e-20, 1.0, (count,), key=key))(keys)
    return -mx.log(-mx.log(uniform))


class Steer(NamedTuple):
    """What is wished of each row's next token. Where nothing is, a value of 0 for any token.

    ids: int32 (batch, wishes), tokens; one that stands twice has the same value. values: float32
    (batch, wishes), added to their logits. only: bool (batch,), whether no other token can be.
    sure: float32 (batch,), the probability of the likeliest token above which nothing is added.
    """

    ids: mx.array
    values: mx.array
    only: mx.array
    sure: mx.array


def steered(logits: mx.array, steer: Steer) -> mx.array:
    """float32 logits (batch, card) with all wishes granted. Rows without any are as they were."""
    likeliest = mx.exp(logits.max(axis=-1) - mx.logsumexp(logits, axis=-1))
    values = mx.where((likeliest > steer.sure)[:, None], 0.0, steer.values)
    wished = mx.take_along_axis(logits, steer.ids, axis=-1) + values
    others = mx.where(steer.only[:, None], -mx.inf, logits)
    return mx.put_along_axis(others, steer.ids, wished, axis=-1)


def sample(logits: mx.array, temperature: mx.array, noise: mx.array, top_k: int) -> mx.array:
    """Draw from the softmax of logits / temperature over the `top_k` largest; int32 (batch,).

    The largest of logits + temperature * Gumbel noise has that distribution, and at temperature 0
    it is the argmax (reference: utils/sampling.py). No sort: only the k-th value is found.

    Args:
        logits: (batch, card), any float dtype.
        temperature: float32 (batch,), 0 for the most likely token.
        noise: float32 (batch, card), of `gumbel`.
        top_k: 0 to draw from all.
    """
    return choose(logits, temperature[:, None] * noise, top_k).astype(mx.int32)


def choose(logits: mx.array, noise: mx.array, top_k: int) -> mx.array:
    """As `sample`, with the noise already times the temperature; uint32 (batch,)."""
    scores, card = logits.astype(mx.float32) + noise, logits.shape[-1]
    if 0 < top_k < card:
        # Of the logits as they came: what is exact needs no wider type to be compared.
        smallest = mx.partition(logits, card - top_k, axis=-1)[:, card - top_k, None]
        scores = mx.where(logits >= smallest, scores, -mx.inf)
    return mx.argmax(scores, axis=-1)
