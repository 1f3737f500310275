"""How strong each model is, from pairwise votes: Bradley-Terry with ties and a term for the side.

A clip of model i on the left against one of model j has the log odds eta = s_i - s_j + delta of being chosen, where s
are the strengths, with mean zero, and delta is what the left side adds (Bradley & Terry 1952; Davidson & Beaver 1977).
Where there are ties, P(left), P(right) and P(tie) are as exp(eta / 2), exp(-eta / 2) and nu (Davidson 1970). Estimates
are of maximum likelihood, without any penalty.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.special import log_softmax
from scipy.stats import t as student

from motionfocal.errors import ConfigError
from motionfocal.intervals import LEVEL, Interval
from motionfocal.study.analysis.agreement import counts_of
from motionfocal.study.analysis.contents import Ranked, Ranking
from motionfocal.study.protocol import Judgement

Array = NDArray[np.float64]

_LEFT, _RIGHT, _TIE = range(3)


@dataclass(frozen=True)
class Fit:
    """The maximum of the likelihood. ``covariance`` is of strengths, ``left`` and ``log_tie`` in this order.

    ``strengths`` are those of ``models``; ``left`` is delta, None without a term for the side; ``log_tie`` is log nu,
    None without ties. ``degrees`` of freedom go with the covariance; both are those of ``cluster_covariance``.
    """

    models: tuple[str, ...]
    strengths: Array
    left: float | None
    log_tie: float | None
    covariance: Array
    degrees: int


def rank(judgements: Sequence[Judgement], *, sides: bool = True) -> Ranking:
    """The models of one question, the strongest first, with cluster-robust intervals (``cluster_covariance``).

    Where the likelihood has no finite maximum, there is no ranking: ``connected`` is False and ``models`` empty.
    Without ties that is so unless every model can be reached from every other by going from losers to winners (Ford
    1957): a model that won or lost all its votes is enough. A tie links two models both ways where other votes bound
    nu. Where only the term for the side has no finite estimate, as when a model always stood on the left, there is
    none, and ``left`` is None; nor is there without ``sides``, for answers that were settled over both orders.

    Raises:
        ConfigError: there are no judgements, or a clip stands against one of its own model.
    """
    found = fit(judgements, position=True) if sides else None
    found = found or fit(judgements, position=False)
    cycles = count_cycles(judgements)
    if found is None:
        return Ranking((), None, None, connected=False, cycles=cycles)
    variances = iter(np.diag(found.covariance))
    strengths = [_interval(strength, next(variances), found.degrees) for strength in found.strengths]
    models = [Ranked(model, strength) for model, strength in zip(found.models, strengths, strict=True)]
    left = None if found.left is None else _interval(found.left, next(variances), found.degrees)
    tie = None if found.log_tie is None else _exponential(_interval(found.log_tie, next(variances), found.degrees))
    models.sort(key=lambda ranked: -ranked.strength.estimate)
    return Ranking(tuple(models), left, tie, connected=True, cycles=cycles)


def fit(judgements: Sequence[Judgement], *, position: bool) -> Fit | None:
    """Fit the model, with a term for the side if ``position``; None where the likelihood has no finite maximum.

    Raises ConfigError without judgements, or when a clip stands against one of its own model.
    """
    counts_of(judgements)  # refuses a model against itself
    if not judgements:
        raise ConfigError("ranking: there are no judgements")
    models = sorted({model for judgement in judgements for model in (judgement.left_model, judgement.right_model)})
    features = _features(judgements, models, position)
    chosen = np.array([("left", "right", "tie").index(judgement.preference) for judgement in judgements])
    if not _has_maximum(features, chosen):
        return None
    found = _maximise(features, chosen)
    scores, information = _derivatives(features, chosen, found)
    centred = _centred(len(models), len(found))
    estimates = centred @ found
    covariance, degrees = cluster_covariance(
        scores @ np.linalg.inv(information) @ centred.T,
        [judgement.item for judgement in judgements],
        [judgement.rater for judgement in judgements],
    )
    return Fit(
        models=tuple(models),
        strengths=estimates[: len(models)],
        left=float(estimates[len(models)]) if position else None,
        log_tie=float(estimates[-1]) if features.shape[1] > _TIE else None,
        covariance=covariance,
        degrees=degrees,
    )


def cluster_covariance(influences: Array, items: Sequence[str], raters: Sequence[str]) -> tuple[Array, int]:
    """Sandwich covariance for votes that share an item or a rater, and its degrees of freedom.

    ``influences`` [votes, parameters] are each vote's score times the inverse information. The sums of squares over
    items and over raters are added, the one over votes that share both is subtracted, each times G / (G - 1) for its G
    clusters; negative eigenvalues are set to zero (Cameron, Gelbach & Miller 2011). Degrees of freedom are one less
    than the fewer clusters. A way with only one cluster tells nothing and is left out; with one item and one rater
    the covariance is NaN.
    """
    ways = [index for index in (_index(items), _index(raters)) if index.max() > 0]
    if not ways:
        return np.full((influences.shape[1],) * 2, np.nan), 1
    covariance = sum((_meat(influences, way) for way in ways), np.zeros((influences.shape[1],) * 2))
    if len(ways) == 2:
        covariance -= _meat(influences, ways[0] * len(influences) + ways[1])
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.maximum(values, 0)) @ vectors.T, int(min(way.max() for way in ways))


def count_cycles(judgements: Sequence[Judgement]) -> int:
    """Triples of models of which each loses to the next by most votes. Ties, of votes and of models, do not count."""
    margins: dict[tuple[str, str], int] = {}
    for unit, (first, second, _) in counts_of(judgements).items():
        pair = (unit.first, unit.second)
        margins[pair] = margins.get(pair, 0) + first - second
    models = sorted({model for pair in margins for model in pair})
    beats = np.zeros((len(models), len(models)), int)
    for (one, other), margin in margins.items():
        winner, loser = (one, other) if margin > 0 else (other, one)
        beats[models.index(winner), models.index(loser)] = margin != 0
    return int(np.trace(beats @ beats @ beats)) // 3  # a walk of three steps home starts at any of the three


def _features(judgements: Sequence[Judgement], models: Sequence[str], position: bool) -> Array:
    """[votes, answers, parameters]: the scores of left, right and, where there are ties, tie, by parameter.

    Parameters are the strengths of all models but the last, which has none; then delta if ``position``; then log nu.
    """
    place = {model: column for column, model in enumerate(models)}
    votes = np.arange(len(judgements))
    difference = np.zeros((len(judgements), len(models)))
    difference[votes, [place[judgement.left_model] for judgement in judgements]] = 1
    difference[votes, [place[judgement.right_model] for judgement in judgements]] = -1
    side = np.ones((len(judgements), int(position)))
    eta = np.concatenate([difference[:, :-1], side], axis=1)
    if all(judgement.preference != "tie" for judgement in judgements):
        return np.stack([eta / 2, -eta / 2], axis=1)
    features = np.zeros((len(judgements), 3, eta.shape[1] + 1))
    features[:, _LEFT, :-1], features[:, _RIGHT, :-1], features[:, _TIE, -1] = eta / 2, -eta / 2, 1
    return features


def _centred(models: int, parameters: int) -> Array:
    """Makes strengths with mean zero of those against the last model, and leaves the other parameters."""
    matrix = np.eye(parameters + 1)
    matrix[:models, :models] -= 1 / models
    return np.delete(matrix, models - 1, axis=1)


def _has_maximum(features: Array, chosen: NDArray[np.int64]) -> bool:
    """Whether the likelihood has one finite maximum: no direction leaves every chosen score as high as the others.

    This is the separation of Albert & Anderson (1984), found by a linear programme.
    """
    votes, answers, parameters = features.shape
    if not parameters:
        return False
    leads = features[np.arange(votes), chosen][:, None] - features
    other = np.arange(answers) != chosen[:, None]
    leads = np.unique(leads[other], axis=0)
    if np.linalg.matrix_rank(leads) < parameters:
        return False
    result = linprog(-leads.sum(0), A_ub=-leads, b_ub=np.zeros(len(leads)), bounds=(-1, 1))
    return bool(-result.fun < 1e-4)  # far above the solver's tolerance, far below what a direction in the box reaches


def _maximise(features: Array, chosen: NDArray[np.int64]) -> Array:
    """Newton's method, its steps halved while they lose; the likelihood is concave and has a maximum."""
    found = np.zeros(features.shape[2])
    step = np.ones_like(found)
    while np.abs(step).max() > 1e-9:
        scores, information = _derivatives(features, chosen, found)
        step = np.linalg.solve(information, scores.sum(0))
        least = _likelihood(features, chosen, found)
        least -= 1e-12 * abs(least)
        while _likelihood(features, chosen, found + step) < least:
            step /= 2
        found = found + step
    return found


def _likelihood(features: Array, chosen: NDArray[np.int64], parameters: Array) -> float:
    """Log-likelihood of the chosen answers."""
    return float(log_softmax(features @ parameters, axis=1)[np.arange(len(chosen)), chosen].sum())


def _derivatives(features: Array, chosen: NDArray[np.int64], parameters: Array) -> tuple[Array, Array]:
    """Gradient [votes, parameters] of each vote's log-likelihood, and the information [parameters, parameters]."""
    shares = np.exp(log_softmax(features @ parameters, axis=1))
    mean = np.einsum("na,nap->np", shares, features)
    squares = np.einsum("na,nap,naq->pq", shares, features, features, optimize=True)
    return features[np.arange(len(chosen)), chosen] - mean, squares - mean.T @ mean


def _index(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _meat(influences: Array, clusters: NDArray[np.int64]) -> Array:
    """Sum of squares of each cluster's sum, times G / (G - 1)."""
    _, index = np.unique(clusters, return_inverse=True)
    count = int(index.max()) + 1
    sums = np.zeros((count, influences.shape[1]))
    np.add.at(sums, index, influences)
    return sums.T @ sums * (count / (count - 1))


def _interval(estimate: float, variance: float, degrees: int) -> Interval:
    """Student's interval."""
    reach = float(student.ppf((1 + LEVEL) / 2, degrees) * np.sqrt(max(variance, 0.0)))
    return Interval(float(estimate), float(estimate) - reach, float(estimate) + reach)


def _exponential(interval: Interval) -> Interval:
    return Interval(*np.exp([interval.estimate, interval.low, interval.high]).tolist())
