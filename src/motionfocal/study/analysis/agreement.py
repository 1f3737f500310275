"""How far raters of the same clips agree: percent, Fleiss' kappa, Krippendorff's alpha, Gwet's AC1.

A *unit* is one item compared between two models; raters may be other people from unit to unit, and their number may
differ. Statistics are of ``counts`` [units, categories]: how many raters of a unit chose a category. A column is a
category that raters could choose, whether anyone did or not. Units that nobody rated say nothing and are left out.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motionfocal.errors import ConfigError, ShapeError
from motionfocal.intervals import LEVEL, Interval
from motionfocal.study.analysis.contents import Agreement
from motionfocal.study.protocol import Judgement

Array = NDArray[np.float64]


@dataclass(frozen=True, order=True)
class Unit:
    """An item, and the two models that are compared on it, in the order of their names."""

    item: str
    first: str
    second: str


def unit_of(judgement: Judgement) -> Unit:
    """What was judged. Raises ConfigError when both clips are of one model."""
    first, second = sorted((judgement.left_model, judgement.right_model))
    if first == second:
        raise ConfigError(f"comparison {judgement.comparison}: both clips are of {first}; leave such checks out")
    return Unit(judgement.item, first, second)


def counts_of(judgements: Sequence[Judgement]) -> dict[Unit, tuple[int, int, int]]:
    """Votes of each unit for its first model, for its second, and for neither. Raises ConfigError as ``unit_of``."""
    votes = Counter((unit_of(judgement), judgement.preferred) for judgement in judgements)
    units = sorted({unit for unit, _ in votes})
    return {unit: (votes[unit, unit.first], votes[unit, unit.second], votes[unit, None]) for unit in units}


def preferred_by_most(unit: Unit, first: int, second: int) -> str | None:
    """The model with more votes than the other one, ties aside; None where they have as many."""
    if first == second:
        return None
    return unit.first if first > second else unit.second


def percent_agreement(counts: ArrayLike) -> float:
    """The share of agreeing pairs of raters of a unit, mean over units with two raters or more, in [0, 1].

    NaN without such a unit. Raises ShapeError unless ``counts`` is [units, categories].
    """
    return _of(_percent, counts)


def fleiss_kappa(counts: ArrayLike) -> float:
    """Fleiss' kappa (1971), at most 1; 0 is the agreement of raters who draw from the categories' overall shares.

    Where the number of raters differs, agreement is ``percent_agreement``, and a category's share is the mean of its
    shares of the units, those with one rater among them (Gwet 2014, ch. 2). NaN where all chose one category, or no
    unit has two raters. Raises ShapeError as ``percent_agreement`` does.
    """
    return _of(_fleiss, counts)


def krippendorff_alpha(counts: ArrayLike) -> float:
    """Krippendorff's alpha for nominal data with missing ratings (2011), at most 1, 0 at chance.

    Units with one rater are left out. NaN where all chose one category. Raises ShapeError as ``percent_agreement``.
    """
    return _of(_alpha, counts)


def gwet_ac1(counts: ArrayLike) -> float:
    """Gwet's AC1 (2008) for any number of raters, at most 1: it stays defined where one category has all votes.

    Agreement and shares p are those of ``fleiss_kappa``, chance is sum p (1 - p) / (categories - 1). NaN with fewer
    than two categories, or no unit with two raters. Raises ShapeError as ``percent_agreement`` does.
    """
    return _of(_ac1, counts)


def agreement_of(judgements: Sequence[Judgement], rng: np.random.Generator, resamples: int = 2000) -> Agreement:
    """The four statistics of the answers to one question, with percentile intervals that draw whole items.

    The categories are the two models of a comparison, by name, and a tie where there are any. With several pairs of
    models the shares that kappa, alpha and AC1 take for chance are therefore those of the first name of each pair.
    Resamples in which a statistic is not defined are left out of its interval. ``splits`` has the larger number of
    votes first, and ties last where there are any: "3-1-1". Raises ConfigError without judgements, or as ``unit_of``.
    """
    votes = counts_of(judgements)
    if not votes:
        raise ConfigError("agreement: there are no judgements")
    table = np.array(list(votes.values()))
    table = table if table[:, 2].any() else table[:, :2]
    items, index = np.unique([unit.item for unit in votes], return_inverse=True)
    by_item = _parts(table).weighted(np.equal.outer(np.arange(len(items)), index).astype(float))
    weights = rng.multinomial(len(items), np.full(len(items), 1 / len(items)), size=resamples).astype(float)
    total, drawn = by_item.total(), by_item.weighted(weights)
    return Agreement(
        percent=_interval(_percent, total, drawn),
        fleiss=_interval(_fleiss, total, drawn),
        alpha=_interval(_alpha, total, drawn),
        ac1=_interval(_ac1, total, drawn),
        splits=_splits(table),
    )


@dataclass(frozen=True)
class _Parts:
    """What the statistics are made of: numbers [n] and categories [n, categories], all of which add up over units.

    ``paired``: units with two raters; ``agreeing``: their shares of agreeing pairs; ``rated``: units with a rater;
    ``shares``: each category's share of a unit's raters. ``coincident`` and ``pairable`` are Krippendorff's: ratings
    that coincide, and all ratings that can be paired, by category.
    """

    paired: Array
    agreeing: Array
    rated: Array
    shares: Array
    coincident: Array
    pairable: Array

    def weighted(self, weights: Array) -> "_Parts":
        """Sums over n, each with weights [m, n]."""
        parts = (self.paired, self.agreeing, self.rated, self.shares, self.coincident, self.pairable)
        return _Parts(*(weights @ part for part in parts))

    def total(self) -> "_Parts":
        """Sums over all n, as [1] and [1, categories]."""
        return self.weighted(np.ones((1, len(self.paired))))


def _parts(counts: ArrayLike) -> _Parts:
    table = np.asarray(counts, float)
    if table.ndim != 2:
        raise ShapeError(f"counts must be [units, categories], got {list(table.shape)}")
    raters = table.sum(1)
    paired = raters >= 2
    coincident = _ratio((table * (table - 1)).sum(1), raters - 1, paired)
    return _Parts(
        paired=paired.astype(float),
        agreeing=_ratio(coincident, raters, paired),
        rated=(raters > 0).astype(float),
        shares=_ratio(table, raters[:, None], (raters > 0)[:, None]),
        coincident=coincident,
        pairable=table * paired[:, None],
    )


def _ratio(numerator: Array, denominator: Array, where: NDArray[np.bool_], otherwise: float = 0.0) -> Array:
    """Numerator by denominator, and ``otherwise`` elsewhere."""
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    return np.divide(numerator, denominator, out=np.full(shape, otherwise), where=where)


def _percent(parts: _Parts) -> Array:
    return _ratio(parts.agreeing, parts.paired, parts.paired > 0, np.nan)


def _overall(parts: _Parts) -> Array:
    """Each category's share [..., categories]."""
    return _ratio(parts.shares, parts.rated[:, None], parts.rated[:, None] > 0, np.nan)


def _beyond_chance(observed: Array, chance: Array) -> Array:
    return _ratio(observed - chance, 1 - chance, chance < 1, np.nan)


def _fleiss(parts: _Parts) -> Array:
    return _beyond_chance(_percent(parts), (_overall(parts) ** 2).sum(1))


def _ac1(parts: _Parts) -> Array:
    shares = _overall(parts)
    if shares.shape[1] < 2:
        return np.full(len(shares), np.nan)
    return _beyond_chance(_percent(parts), (shares * (1 - shares)).sum(1) / (shares.shape[1] - 1))


def _alpha(parts: _Parts) -> Array:
    ratings = parts.pairable.sum(1)
    observed = ratings - parts.coincident  # disagreements of a rating with another, times the number of ratings
    expected = ratings**2 - (parts.pairable**2).sum(1)
    return 1 - _ratio((ratings - 1) * observed, expected, expected > 0, np.nan)


def _of(statistic: Callable[[_Parts], Array], counts: ArrayLike) -> float:
    return float(statistic(_parts(counts).total())[0])


def _interval(statistic: Callable[[_Parts], Array], total: _Parts, drawn: _Parts) -> Interval:
    values = statistic(drawn)
    defined = values[~np.isnan(values)]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(defined) else (np.nan, np.nan)
    return Interval(float(statistic(total)[0]), float(low), float(high))


def _splits(table: NDArray[np.int64]) -> dict[str, int]:
    """How many units had which votes, those of one mind first."""
    models = -np.sort(-table[:, :2], axis=1)
    found = Counter(tuple(map(int, row)) for row in np.hstack([models, table[:, 2:]]))
    return {"-".join(map(str, votes)): found[votes] for votes in sorted(found, reverse=True)}
