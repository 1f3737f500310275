"""The mean of votes that share items and share raters, with an interval that holds.

Votes of one item go the same way more often than not, and so do votes of one rater; neither lies within the other.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.intervals import LEVEL, Interval

Array = NDArray[np.float64]


def two_way_mean(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> Interval:
    """The mean of ``values`` [votes] in [0, 1], clustered in two ways: by ``items`` and by ``raters`` [votes].

    The variance is that of Cameron, Gelbach and Miller (2011): by item, plus by rater, minus by the two together. Each
    of the three is freed of its bias as Bell and McCaffrey (2002) do, which for a mean divides the square of a
    cluster's sum by one minus the cluster's share of the votes. A t quantile stands for few clusters, its degrees of
    freedom Satterthwaite's (1946) of the two ways, each way's the effective number of clusters (Carter, Schnepel and
    Steigerwald 2017) less one. Where chance makes votes look as if they avoided each other they are taken for
    independent. The interval is Wilson's of as many independent votes as have this variance (Franco et al. 2019), so it
    stays within [0, 1] and is lopsided near its ends.

    Resampling items and raters together (the pigeonhole bootstrap, Owen 2007) counts what is a vote's own three times
    and is too wide; benchmarks/study_coverage.py measures both. A way with a single cluster is left out: the interval
    is then about that one rater, or item. Where all values are equal nothing is known of the clusters, and each
    cluster of the way that has fewer counts as one vote.

    Raises:
        ShapeError: lengths differ.
        ConfigError: no values.
    """
    values, codes = _checked(values, items, raters)
    mean = float(values.mean())
    ways = [code for code in codes if code.max()]
    if not ways or np.ptp(values) == 0:
        fewest = min((code.max() + 1 for code in ways), default=1)
        return _wilson(mean, float(fewest), float(norm.ppf((1 + LEVEL) / 2)))
    residuals = (values - mean) / len(values)
    both = np.unique(codes[0] * (codes[1].max() + 1) + codes[1], return_inverse=True)[1]
    parts, together = [_variance(residuals, code) for code in ways], _variance(residuals, both)
    variance = sum(parts) - together * (len(ways) - 1)
    if variance > together:
        freedom = variance**2 / sum(part**2 / _freedom(code) for part, code in zip(parts, ways, strict=True))
    else:
        variance, freedom = together, _freedom(both)
    return _wilson(mean, mean * (1 - mean) / variance, float(t.ppf((1 + LEVEL) / 2, max(1.0, freedom))))


def _checked(values: ArrayLike, items: ArrayLike, raters: ArrayLike) -> tuple[Array, list[NDArray[np.int64]]]:
    """The values, and the clusters of both ways counted from 0."""
    values, items, raters = np.asarray(values, float), np.asarray(items), np.asarray(raters)
    if values.ndim != 1 or not values.shape == items.shape == raters.shape:
        raise ShapeError(
            f"values {list(values.shape)}, items {list(items.shape)} and raters {list(raters.shape)} must be [votes]"
        )
    if not len(values):
        raise ConfigError("a mean of nothing: there are no votes")
    return values, [np.unique(of, return_inverse=True)[1] for of in (items, raters)]


def _variance(residuals: Array, code: NDArray[np.int64]) -> float:
    """The variance of a mean whose clusters are independent, from its residuals over the number of votes."""
    shares = np.bincount(code) / len(code)
    return float((np.bincount(code, residuals) ** 2 / (1 - shares)).sum())


def _freedom(code: NDArray[np.int64]) -> float:
    """Degrees of freedom of a way: its number of clusters less one where they are equal, fewer where they are not."""
    squares = np.bincount(code).astype(float) ** 2
    return max(1.0, float(squares.sum() ** 2 / (squares**2).sum()) - 1)


def _wilson(mean: float, votes: float, quantile: float) -> Interval:
    """Wilson's interval of a share of a number of votes that need not be whole."""
    spread = quantile**2 / votes
    centre = (mean + spread / 2) / (1 + spread)
    half = np.sqrt(spread * (mean * (1 - mean) + spread / 4)) / (1 + spread)
    return Interval(mean, max(0.0, float(centre - half)), min(1.0, float(centre + half)))
