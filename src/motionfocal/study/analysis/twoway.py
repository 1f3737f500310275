"""The mean of votes that share items and share raters, with an interval that holds.

Votes of one item go the same way more often than not, and so do votes of one rater; neither lies within the other.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.intervals import LEVEL, Interval

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

_NOTHING = 1e-12
"""Share of the variance of independent values below which a variance is rounding."""


def two_way_mean(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> Interval:
    """The mean of ``values`` [votes] in [0, 1], clustered in two ways: by ``items`` and by ``raters`` [votes].

    The variance is that of Cameron, Gelbach and Miller (2011): by item, plus by rater, minus by the two together. Each
    of the three is freed of its bias as Bell and McCaffrey (2002) do, which for a mean divides the square of a
    cluster's sum by one minus the cluster's share of the votes. A t quantile stands for few clusters, its degrees of
    freedom Satterthwaite's (1946) of the two ways, each way's the effective number of clusters (Carter, Schnepel and
    Steigerwald 2017) less one. Where chance makes votes look as if they avoided each other they are taken for
    independent, with the degrees of freedom of the way that has fewer, for they need not be. The interval is Wilson's
    of as many independent votes as have this variance (Franco et al. 2019), so it stays within [0, 1] and is lopsided
    near its ends.

    Resampling items and raters together (the pigeonhole bootstrap, Owen 2007) counts what is a vote's own three times
    and is too wide; benchmarks/study_coverage.py measures both. A way with a single cluster is left out: the interval
    is then about that one rater, or item. Where all values are equal nothing is known of the clusters: each cluster of
    the way that has fewer counts as one vote, and where all of them are 0, or 1, the interval is Clopper and Pearson's
    (1934), which is exact.

    Raises:
        ShapeError: lengths differ.
        ConfigError: no values.
    """
    values, codes = _checked(values, items, raters)
    if (same := _unanimous(values)) is not None:
        farthest = ((1 - LEVEL) / 2) ** (1 / _fewest(codes))
        return Interval(same, farthest, 1.0) if same else Interval(same, 0.0, 1 - farthest)
    votes, freedom = _worth(values, codes)
    return _wilson(float(values.mean()), votes, _quantile(freedom))


def one_way_mean(values: ArrayLike, clusters: ArrayLike) -> Interval:
    """``two_way_mean`` of ``values`` [n] that share ``clusters`` [n] in one way only, such as images.

    Of a single cluster nothing is known beyond it: it counts as one value. Raises as ``two_way_mean`` does.
    """
    return two_way_mean(values, clusters, np.zeros(np.shape(clusters)))


def two_way_test(values: ArrayLike, items: ArrayLike, raters: ArrayLike, expected: float = 0.5) -> float:
    """Two-sided p that the mean is ``expected``, in (0, 1): below 0.05 where ``two_way_mean`` leaves it out.

    Where all values are 0, or 1, it is twice the binomial chance of that. Raises as ``two_way_mean`` does.
    """
    values, codes = _checked(values, items, raters)
    if (same := _unanimous(values)) is not None:
        return float(min(1.0, 2 * (expected if same else 1 - expected) ** _fewest(codes)))
    votes, freedom = _worth(values, codes)
    deviation = abs(float(values.mean()) - expected) / math.sqrt(expected * (1 - expected) / votes)
    return _p_value(float(deviation), freedom)


def two_way_t_mean(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> Interval:
    """``two_way_mean`` of values that have no bounds: the same variance and quantile, in a plain t interval.

    Where all values are equal there is no scale to measure by, and both ends are NaN. Raises as ``two_way_mean`` does.
    """
    values, codes = _checked(values, items, raters)
    mean = float(values.mean())
    if not _ways(codes) or np.ptp(values) == 0:
        return Interval(mean, float("nan"), float("nan"))
    variance, freedom = _spread(values, codes)
    half = _quantile(freedom) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half)


def two_way_t_test(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> float:
    """Two-sided p that the mean is 0: below 0.05 where ``two_way_t_mean`` leaves it out.

    Where all values are equal it is a sign test's, in which each cluster of the way that has fewer counts as one; 1
    where they are 0. Raises as ``two_way_mean`` does.
    """
    values, codes = _checked(values, items, raters)
    mean = float(values.mean())
    if not _ways(codes) or np.ptp(values) == 0:
        return 1.0 if mean == 0 else float(2.0 ** (1 - _fewest(codes)))
    variance, freedom = _spread(values, codes)
    return _p_value(abs(mean) / math.sqrt(variance), freedom)


def _unanimous(values: Array) -> float | None:
    """0 or 1 where all values are that, else None."""
    first = float(values[0])
    return first if first in (0, 1) and np.ptp(values) == 0 else None


def _worth(values: Array, codes: list[Codes]) -> tuple[float, float]:
    """As many independent votes as have the variance of the mean of ``values``, and their degrees of freedom."""
    if not _ways(codes) or np.ptp(values) == 0:
        return float(_fewest(codes)), math.inf
    mean = float(values.mean())
    variance, freedom = _spread(values, codes)
    return mean * (1 - mean) / variance, freedom


def _spread(values: Array, codes: list[Codes]) -> tuple[float, float]:
    """The variance of the mean and its degrees of freedom, of values that are not all equal.

    Where the means of an item's values of one rater are all equal, values are taken for independent. Where the ways add
    nothing, a way's own variance happened to come out small: with five seeds or raters it often does, even where they
    differ, and the degrees of freedom are no more than those of the way that has fewer.
    """
    residuals = (values - float(values.mean())) / len(values)
    ways = _ways(codes)
    both = np.unique(codes[0] * (codes[1].max() + 1) + codes[1], return_inverse=True)[1]
    parts, together = [_variance(residuals, code) for code in ways], _variance(residuals, both)
    if together <= _NOTHING * (alone := _variance(residuals, np.arange(len(values)))):
        return alone, float(len(values) - 1)
    variance = sum(parts) - together * (len(ways) - 1)
    if variance > together:
        freedom = variance**2 / sum(part**2 / _freedom(code) for part, code in zip(parts, ways, strict=True))
        return variance, max(1.0, freedom)
    return together, min(_freedom(code) for code in [*ways, both])


def _ways(codes: list[Codes]) -> list[Codes]:
    """The ways that have more than one cluster."""
    return [code for code in codes if code.max()]


def _fewest(codes: list[Codes]) -> int:
    """Clusters of the way that has fewer of them, and more than one."""
    return int(min((code.max() + 1 for code in _ways(codes)), default=1))


def _quantile(freedom: float) -> float:
    """Student's, or the normal one for infinite degrees of freedom."""
    half = (1 + LEVEL) / 2
    return float(norm.ppf(half) if math.isinf(freedom) else t.ppf(half, freedom))


def _p_value(deviation: float, freedom: float) -> float:
    """Two-sided, of a deviation in standard errors, by the laws of ``_quantile``."""
    return float(2 * (norm.sf(deviation) if math.isinf(freedom) else t.sf(deviation, freedom)))


def _checked(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> tuple[Array, list[Codes]]:
    """The values, and the clusters of both ways counted from 0."""
    values, items, raters = np.asarray(values, float), np.asarray(items), np.asarray(raters)
    if values.ndim != 1 or not values.shape == items.shape == raters.shape:
        raise ShapeError(
            f"values {list(values.shape)}, items {list(items.shape)} and raters {list(raters.shape)} must be [votes]"
        )
    if not len(values):
        raise ConfigError("a mean of nothing: there are no votes")
    return values, [np.unique(of, return_inverse=True)[1] for of in (items, raters)]


def _variance(residuals: Array, code: Codes) -> float:
    """The variance of a mean whose clusters are independent, from its residuals over the number of votes."""
    shares = np.bincount(code) / len(code)
    return float((np.bincount(code, residuals) ** 2 / (1 - shares)).sum())


def _freedom(code: Codes) -> float:
    """Degrees of freedom of a way: its number of clusters less one where they are equal, fewer where they are not."""
    squares = np.bincount(code).astype(float) ** 2
    return max(1.0, float(squares.sum() ** 2 / (squares**2).sum()) - 1)


def _wilson(mean: float, votes: float, quantile: float) -> Interval:
    """Wilson's interval of a share of a number of votes that need not be whole."""
    spread = quantile**2 / votes
    centre = (mean + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (mean * (1 - mean) + spread / 4)) / (1 + spread)
    return Interval(mean, max(0.0, float(centre - half)), min(1.0, float(centre + half)))
