"""Means over people with an interval: people are drawn again with replacement, because people are what varies."""

from collections.abc import Sequence

import numpy as np

DRAWS = 2000


def summary(values: Sequence[float], seed: int = 0) -> dict[str, float | int]:
    """Mean over users with a 95 % percentile bootstrap over users; {mean, low, high, n_users}."""
    array = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(array), (DRAWS, len(array)))
    low, high = np.percentile(array[draws].mean(axis=1), [2.5, 97.5])
    rounded = {"mean": array.mean(), "low": low, "high": high}
    return {**{name: round(float(value), 5) for name, value in rounded.items()}, "n_users": len(array)}


def paired(values: Sequence[float], others: Sequence[float], seed: int = 0) -> dict[str, float | int]:
    """The mean difference of two methods on the same people, with its interval."""
    return summary(np.asarray(values) - np.asarray(others), seed)
