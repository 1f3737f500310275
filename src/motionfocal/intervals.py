"""Estimates with their intervals: shares, and means of values that come in groups.

Shares are in [0, 1], intervals at 95 %. Items that share an image are not independent, so the intervals and tests of
means draw whole groups; the generator is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from motionfocal.errors import ConfigError, ShapeError

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate, and where the true value lies at this level of confidence."""

    estimate: float
    low: float
    high: float
    level: float = LEVEL


def wilson(k: int, n: int) -> Interval:
    """The share ``k / n`` with Wilson's score interval (Wilson 1927). Raises ConfigError when n is 0."""
    if n < 1:
        raise ConfigError("a share of nothing: no item was judged")
    interval = binomtest(k, n).proportion_ci(LEVEL, method="wilson")
    return Interval(k / n, interval.low, interval.high)


def grouped_mean(
    values: ArrayLike, groups: Sequence[str], rng: np.random.Generator, resamples: int = 10_000
) -> Interval:
    """The mean of ``values`` [n] with a percentile bootstrap over ``groups`` [n], each drawn whole.

    Made for dozens of groups: with few it is too narrow, and where all values are equal it has no width.
    Raises ShapeError for different lengths, ConfigError for no values.
    """
    sizes, sums = _group_sums(values, groups)
    drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    low, high = np.quantile(drawn @ sums / (drawn @ sizes), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(sums.sum() / sizes.sum()), float(low), float(high))


def sign_flip_test(
    differences: ArrayLike, groups: Sequence[str], rng: np.random.Generator, resamples: int = 10_000
) -> float:
    """Two-sided p that paired differences [n] have mean zero: the signs of whole ``groups`` [n] are flipped at random.

    Exact up to the draw where groups are independent and each group's sum is as likely as its opposite; 1 where all
    differences are zero. Raises ShapeError for different lengths, ConfigError for no values.
    """
    sums = _group_sums(differences, groups)[1]
    observed = abs(sums.sum())
    signs = rng.choice([-1.0, 1.0], (resamples, len(sums)))
    tolerance = 1e-12 * np.abs(sums).sum()
    return float((1 + (np.abs(signs @ sums) >= observed - tolerance).sum()) / (1 + resamples))


def exact_sign_flip_test(differences: ArrayLike, groups: Sequence[str]) -> float:
    """``sign_flip_test`` over all signs, not drawn ones: of ``differences`` [n] that are whole or half numbers.

    Where each difference has a group of its own it is the sign test, of two verdicts on each item McNemar's (1947).
    From g groups it gives 2^(1 - g) at least: five cannot be significant at 0.05. Raises as ``sign_flip_test`` does,
    and ConfigError for other numbers.
    """
    doubled = 2 * _group_sums(differences, groups)[1]
    sums = np.rint(doubled).astype(int)
    if (sums != doubled).any():
        raise ConfigError("differences: the exact test is for whole and half numbers; use sign_flip_test for others")
    farthest = int(np.abs(sums).sum())
    chances = np.zeros(2 * farthest + 1)  # of each total from -farthest on, by the groups so far
    chances[farthest] = 1
    for step in np.abs(sums):
        chances = (np.roll(chances, step) + np.roll(chances, -step)) / 2  # what would go round has no chance yet
    totals = np.arange(-farthest, farthest + 1)
    return min(1.0, float(chances[np.abs(totals) >= abs(sums.sum())].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values of one family of tests, adjusted for their number (Holm 1979), in their order."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return [float(p) for p in adjusted]


def _group_sums(values: ArrayLike, groups: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Size and sum of each group."""
    values = np.asarray(values, float)
    if values.shape != (len(groups),):
        raise ShapeError(f"values {list(values.shape)} and groups [{len(groups)}] must have the same length")
    if not len(values):
        raise ConfigError("a mean of nothing: no item was judged")
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    return np.bincount(index).astype(np.int64), np.bincount(index, values).astype(np.float64)
