"""Which of two models is preferred: by the majority of each item, and by vote, each with its interval.

All functions take the judgements of one question on one pair of models, and say how ``model`` fares. They raise
ConfigError unless the judgements compare ``model`` with one other.
"""

import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from motionfocal.errors import ConfigError
from motionfocal.intervals import Interval, exact_sign_flip_test, wilson
from motionfocal.study.analysis.twoway import one_way_mean, two_way_mean
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

    An item without a majority counts one half (the paper has five votes an item and no ties). Items of one image are
    not independent: the interval is clustered by image (``twoway.one_way_mean``).
    """
    return one_way_mean(*_outcomes_and_images(judgements, model))


def ti2v_score_by_item(judgements: Sequence[Judgement], model: str) -> Interval:
    """``ti2v_score`` with Wilson's interval, which takes items for independent: too narrow where they share images.

    Where a half is left, it spans the intervals of the whole counts below and above.
    """
    outcomes = item_outcomes(judgements, model)
    return _wilson_of(sum(outcomes.values()), len(outcomes))


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


def score_test(judgements: Sequence[Judgement], model: str) -> float:
    """Exact two-sided p that items are won as often as lost, over all signs of whole images.

    Where each image has one item it is the sign test, which leaves items without a majority out; see
    ``intervals.exact_sign_flip_test``.
    """
    outcomes, images = _outcomes_and_images(judgements, model)
    return exact_sign_flip_test(np.array(outcomes) - 0.5, images)


def _outcomes_and_images(judgements: Sequence[Judgement], model: str) -> tuple[list[float], list[str]]:
    """Each item's outcome and image, by the items' ids."""
    outcomes = item_outcomes(judgements, model)
    images = {judgement.item: judgement.image for judgement in judgements}
    return [outcomes[item] for item in sorted(outcomes)], [images[item] for item in sorted(outcomes)]


def _wilson_of(total: float, n: int) -> Interval:
    """Wilson's interval of a share whose count may end in a half: then it spans both whole counts' intervals."""
    return Interval(total / n, wilson(math.floor(total), n).low, wilson(math.ceil(total), n).high)
