"""Figures made of many times."""

from __future__ import annotations

from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum, in milliseconds."""
    return {
        "median": 1e3 * quantile(seconds, 0.5),
        "p95": 1e3 * quantile(seconds, 0.95),
        "max": 1e3 * max(seconds),
    }
