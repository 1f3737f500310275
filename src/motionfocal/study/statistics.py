"""What judgements and verdicts add up to, each figure with its interval.

Shares are in [0, 1], intervals at 95 %. Items that share an image are not independent: intervals and tests keep images
whole. Those of vote shares and of differences come from a bootstrap; its generator is passed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motionfocal.errors import ShapeError
from motionfocal.intervals import Interval, exact_sign_flip_test, grouped_mean
from motionfocal.study.analysis.scores import baseline_of, item_outcomes, ti2v_score, vote_outcomes
from motionfocal.study.analysis.twoway import one_way_mean
from motionfocal.study.protocol import REASONS, Judgement
from motionfocal.worlds.oracle import Reason


@dataclass(frozen=True)
class ContestRow:
    """One row of the paper's Figure 4 as an exact judge fills it; people's is ``analysis.contents.ComparisonRow``.

    ``item_score`` is the paper's TI2V score, ``vote_score`` the share of single votes: a majority makes a
    preference look stronger than its votes, so the two are not comparable. Ties count one half in both.
    ``reasons`` holds, for each reason, the shares of all votes that chose the model and the baseline for it.
    """

    model: str
    baseline: str
    items: int
    votes: int
    tied_votes: int
    tied_items: int
    item_score: Interval
    vote_score: Interval
    reasons: dict[Reason, tuple[float, float]]


def followed_rate(followed: Sequence[bool], images: Sequence[str]) -> Interval:
    """The share of clips [n] that followed their text, clustered by their ``images`` [n].

    Raises ShapeError when the two differ in length, ConfigError when they are empty.
    """
    return one_way_mean(followed, images)


def vote_score(
    judgements: Sequence[Judgement], model: str, rng: np.random.Generator, resamples: int = 10_000
) -> Interval:
    """The share of votes that prefer ``model``, a tie counting one half; the interval draws whole images.

    Raises ConfigError as ``ti2v_score`` does.
    """
    return grouped_mean(vote_outcomes(judgements, model), [judgement.image for judgement in judgements], rng, resamples)


def reason_shares(judgements: Sequence[Judgement], model: str) -> dict[Reason, tuple[float, float]]:
    """For each reason the share of all votes that chose ``model`` for it, and of those that chose the other.

    The rest of the votes did not give that reason. Raises ConfigError as ``ti2v_score`` does.
    """
    baseline = baseline_of(judgements, model)

    def share(chosen: str, reason: Reason) -> float:
        votes = sum(j.preferred == chosen and reason in j.reasons for j in judgements)
        return votes / len(judgements)

    return {reason: (share(model, reason), share(baseline, reason)) for reason in REASONS}


def comparison_table(
    judgements: Sequence[Judgement], model: str, rng: np.random.Generator, resamples: int = 10_000
) -> ContestRow:
    """All that Figure 4 says of ``model`` against one baseline. Raises ConfigError as ``ti2v_score`` does."""
    baseline = baseline_of(judgements, model)
    outcomes = item_outcomes(judgements, model)
    return ContestRow(
        model=model,
        baseline=baseline,
        items=len(outcomes),
        votes=len(judgements),
        tied_votes=sum(judgement.preference == "tie" for judgement in judgements),
        tied_items=sum(outcome == 0.5 for outcome in outcomes.values()),
        item_score=ti2v_score(judgements, model),
        vote_score=vote_score(judgements, model, rng, resamples),
        reasons=reason_shares(judgements, model),
    )


def rate_difference(
    a: Sequence[bool],
    b: Sequence[bool],
    groups: Sequence[str],
    rng: np.random.Generator,
    resamples: int = 10_000,
) -> Interval:
    """Rate of ``a`` minus rate of ``b``, two verdicts on each item, item i belonging to image ``groups[i]``.

    Raises ShapeError when the three differ in length, ConfigError when they are empty.
    """
    first, second = _paired(a, b)
    return grouped_mean(first.astype(float) - second, groups, rng, resamples)


def rate_difference_test(a: Sequence[bool], b: Sequence[bool], groups: Sequence[str]) -> float:
    """Exact two-sided p that two verdicts on the same items have the same rate, over all signs of whole ``groups``.

    Where each item has a group of its own it is McNemar's test (1947); see ``intervals.exact_sign_flip_test``.
    Raises as ``rate_difference`` does.
    """
    first, second = _paired(a, b)
    return exact_sign_flip_test(first.astype(float) - second, groups)


def _paired(a: Sequence[bool], b: Sequence[bool]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    first, second = np.asarray(a, bool), np.asarray(b, bool)
    if first.shape != second.shape:
        raise ShapeError(f"verdicts {list(first.shape)} and {list(second.shape)} must be on the same items")
    return first, second
