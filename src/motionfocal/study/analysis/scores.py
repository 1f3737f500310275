"""Which of two models is preferred: by the majority of each item, and by vote, each with its interval.

All functions take the judgements of one question on one pair of models, and say how ``model`` fares. They raise
ConfigError unless the judgements compare ``model`` with one other.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from motionfocal.errors import ConfigError
from motionfocal.intervals import Interval, grouped_mean, wilson
from motionfocal.study.analysis.twoway import two_way_mean
from motionfocal.study.protocol import Judgement


def baseline_of(judgements: Sequence[Judgement], model: str) -> str:
    """The one other model in the judgements."""
    pairs = {frozenset((j.left_model, j.right_model)) for j in judgements}
    others = {other for models in pairs for other in models - {model}}
    if len(others) != 1 or any(len(models) != 2 for models in pairs):
        seen = ", ".join(sorted(" / ".join(sorted(models)) for models in pairs)) or "nothing"
        raise ConfigError(f"model: needs judgements of {model!r} against one other model, got {seen}")
    return others.pop()


def vote_outcomes(judgements: Sequence[Judgement], model: str) -> list[float]:
    """What each vote says for ``model``: 1, 0, or 1/2 for a tie."""
    baseline_of(judgements, model)
    return [0.5 if j.preferred is None else float(j.preferred == model) for j in judgements]


def item_outcomes(judgements: Sequence[Judgement], model: str) -> dict[str, float]:
    """What the majority of each item's votes says for ``model``: 1, 0, or 1/2 when there is none."""
    margins: dict[str, float] = defaultdict(float)
    for judgement, outcome in zip(judgements, vote_outcomes(judgements, model), strict=True):
        margins[judgement.item] += outcome - 0.5
    return {item: (1 + float(np.sign(margin))) / 2 for item, margin in margins.items()}


def ti2v_score(judgements: Sequence[Judgement], model: str) -> Interval:
    """The paper's TI2V score: the share of items whose majority of votes prefers ``model``.

    An item without a majority counts one half (the paper has five votes an item and no ties). The interval is
    Wilson's, which takes items for independent; where a half is left, it spans those of the whole counts below and
    above.
    """
    outcomes = item_outcomes(judgements, model)
    return _wilson_of(sum(outcomes.values()), len(outcomes))


def ti2v_score_by_image(
    judgements: Sequence[Judgement], model: str, rng: np.random.Generator, resamples: int = 10_000
) -> Interval:
    """``ti2v_score`` with an interval that draws whole images: items of one image are not independent."""
    outcomes = item_outcomes(judgements, model)
    images = {judgement.item: judgement.image for judgement in judgements}
    items = sorted(outcomes)
    return grouped_mean([outcomes[item] for item in items], [images[item] for item in items], rng, resamples)


def vote_score(judgements: Sequence[Judgement], model: str) -> Interval:
    """The share of votes that prefer ``model``, a tie counting one half; two-way (item x rater) interval.

    It is about other items and other raters of the same kinds; ``twoway.two_way_mean`` says how it is made.
    """
    outcomes = vote_outcomes(judgements, model)
    return two_way_mean(outcomes, [j.item for j in judgements], [j.rater for j in judgements])


def vote_score_naive(judgements: Sequence[Judgement], model: str) -> Interval:
    """``vote_score`` with Wilson's interval, which takes votes for independent: too narrow, for comparison only."""
    outcomes = vote_outcomes(judgements, model)
    return _wilson_of(sum(outcomes), len(outcomes))


def sign_test(judgements: Sequence[Judgement], model: str) -> float:
    """Exact two-sided p that items are won as often as lost (sign test); items without a majority are left out.

    It takes items for independent; 1 where none has a majority.
    """
    outcomes = list(item_outcomes(judgements, model).values())
    won, lost = outcomes.count(1.0), outcomes.count(0.0)
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def _wilson_of(total: float, n: int) -> Interval:
    """Wilson's interval of a share whose count may end in a half: then it spans both whole counts' intervals."""
    return Interval(total / n, wilson(math.floor(total), n).low, wilson(math.ceil(total), n).high)
