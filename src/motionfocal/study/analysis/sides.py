"""Whether the side decides: habits of left or right, and answers that stay when the sides are exchanged."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from motionfocal.errors import ConfigError
from motionfocal.intervals import Interval, grouped_mean, sign_flip_test, wilson
from motionfocal.study.analysis.contents import Consistency, SideBias
from motionfocal.study.protocol import Judgement

UNDEFINED = Interval(float("nan"), float("nan"), float("nan"))
"""Of nothing."""


def side_bias(judgements: Sequence[Judgement], rng: np.random.Generator, resamples: int = 2000) -> SideBias:
    """The share of left among the votes that chose a side, and the p-value of its being one half.

    A rater's habit is in all of that rater's votes, so the interval draws raters, as ``share_by_groups`` does, and the
    test flips the signs of whole raters (``sign_flip_test``). It asks whether raters lean to one side together, not
    whether each has a habit, and five raters or fewer cannot be significant at 0.05. A single rater's votes are taken
    for independent: Wilson's interval, exact binomial test. Where no vote chose a side, all is NaN.
    """
    votes = [judgement for judgement in judgements if judgement.preference != "tie"]
    if not votes:
        return SideBias(0, UNDEFINED, float("nan"))
    left = [judgement.preference == "left" for judgement in votes]
    raters = [judgement.rater for judgement in votes]
    if len(set(raters)) > 1:
        p_value = sign_flip_test(np.asarray(left, float) - 0.5, raters, rng, resamples)
    else:
        p_value = float(binomtest(sum(left), len(left)).pvalue)
    return SideBias(len(votes), share_by_groups(left, raters, rng, resamples), p_value)


def share_by_groups(
    hits: Sequence[bool], groups: Sequence[str], rng: np.random.Generator, resamples: int = 2000
) -> Interval:
    """The share of ``hits`` [n] with a bootstrap over ``groups`` [n], never narrower than Wilson's interval.

    The bootstrap has no width where all groups are alike, and too little with few of them; of one group it says
    nothing, and Wilson's interval is all. Raises ShapeError and ConfigError as ``intervals.grouped_mean`` does.
    """
    drawn = grouped_mean(np.asarray(hits, float), groups, rng, resamples)
    independent = wilson(sum(hits), len(hits))
    return Interval(drawn.estimate, min(drawn.low, independent.low), max(drawn.high, independent.high))


def consistency(repeats: Sequence[tuple[Judgement, Judgement]]) -> Consistency:
    """How often raters gave the same answer to a pair that they saw again with sides exchanged; Wilson's interval.

    Two ties are the same answer. Raises ConfigError, naming the comparison, unless both answers of a repeat are one
    rater's to the same question about the same clips, with sides exchanged.
    """
    for first, second in repeats:
        asked = [(answer.rater, answer.question, answer.comparison) for answer in (first, second)]
        if asked[0] != asked[1] or not exchanged(first, second):
            raise ConfigError(
                f"comparison {first.comparison}: {second.comparison} of {second.rater} does not repeat it with sides"
                f" exchanged for {first.rater}"
            )
    same = sum(first.preferred == second.preferred for first, second in repeats)
    return Consistency(len(repeats), wilson(same, len(repeats)) if repeats else None)


def exchanged(first: Judgement, second: Judgement) -> bool:
    """Whether two judgements have the same models on opposite sides."""
    return (first.left_model, first.right_model) == (second.right_model, second.left_model)
