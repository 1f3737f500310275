"""Why one model was preferred: how often each justification was given, for either side."""

from collections import defaultdict
from collections.abc import Sequence

from motionfocal.intervals import Interval
from motionfocal.study.analysis.agreement import krippendorff_alpha
from motionfocal.study.analysis.contents import ReasonShares
from motionfocal.study.analysis.scores import baseline_of, item_outcomes
from motionfocal.study.analysis.twoway import two_way_mean
from motionfocal.study.protocol import REASONS, Judgement


def reasons_of(judgements: Sequence[Judgement]) -> tuple[str, ...]:
    """The reasons given in any vote: the paper's four first, in their order, then others in order of first use.

    Where only reasons of the paper were given, all four are named: one that nobody gave is a result, too.
    """
    given = list(dict.fromkeys(reason for judgement in judgements for reason in judgement.reasons))
    others = [reason for reason in given if reason not in REASONS]
    if given and not others:
        return REASONS
    return (*(reason for reason in REASONS if reason in given), *others)


def reason_shares(judgements: Sequence[Judgement], model: str, reasons: Sequence[str]) -> dict[str, ReasonShares]:
    """Each of ``reasons`` in the votes for ``model`` and for the other one; intervals are two-way (item x rater).

    Shares are of all votes, and of all items: the rest did not give the reason. Raises ConfigError unless the
    judgements compare ``model`` with one other.
    """
    baseline = baseline_of(judgements, model)
    outcomes = item_outcomes(judgements, model)
    won = {item: model if outcome == 1 else baseline for item, outcome in outcomes.items() if outcome != 0.5}
    return {
        reason: ReasonShares(
            model=_share(judgements, model, reason),
            baseline=_share(judgements, baseline, reason),
            model_by_majority=_by_majority(judgements, won, model, reason) / len(outcomes),
            baseline_by_majority=_by_majority(judgements, won, baseline, reason) / len(outcomes),
            alpha=_alpha(judgements, reason),
        )
        for reason in reasons
    }


def _share(judgements: Sequence[Judgement], side: str, reason: str) -> Interval:
    """The share of votes that chose ``side`` for ``reason``."""
    given = [float(j.preferred == side and reason in j.reasons) for j in judgements]
    return two_way_mean(given, [j.item for j in judgements], [j.rater for j in judgements])


def _by_majority(judgements: Sequence[Judgement], won: dict[str, str], side: str, reason: str) -> int:
    """Items that ``side`` won, and most of the votes that it won by gave the reason."""
    margins: dict[str, int] = defaultdict(int)
    for judgement in judgements:
        if judgement.preferred == side == won.get(judgement.item):
            margins[judgement.item] += 1 if reason in judgement.reasons else -1
    return sum(margin > 0 for margin in margins.values())


def _alpha(judgements: Sequence[Judgement], reason: str) -> float:
    """Krippendorff's alpha of the raters who chose a side, on whether they gave the reason for it."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for judgement in judgements:
        if judgement.preferred is not None:
            counts[judgement.item][reason in judgement.reasons] += 1
    return krippendorff_alpha(list(counts.values())) if counts else float("nan")
