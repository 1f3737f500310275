"""A row a pair of models: everything that the votes say of one against the other."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from motionfocal.errors import ConfigError, UnknownNameError
from motionfocal.intervals import holm
from motionfocal.study.analysis import scores
from motionfocal.study.analysis.agreement import agreement_of, unit_of
from motionfocal.study.analysis.contents import ComparisonRow
from motionfocal.study.analysis.reasons import reason_shares, reasons_of
from motionfocal.study.analysis.sides import side_bias
from motionfocal.study.protocol import Judgement


def comparison_rows(
    judgements: Sequence[Judgement], model: str | None, rng: np.random.Generator, resamples: int = 2000
) -> tuple[ComparisonRow, ...]:
    """A row for each pair of models, by the names of both, p-values adjusted for their number (Holm 1979).

    With ``model`` that one stands first, and pairs without it are left out. Without it, a model that is in all of
    several pairs stands first; where there is none, the first by name does in each pair. All rows have the same
    reasons: those of all judgements.

    Raises:
        ConfigError: there are no judgements, or of several questions or kinds of raters, or of a model and itself.
        UnknownNameError: no judgement is about ``model``.
    """
    _require_one_table(judgements)
    of_pair: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        unit = unit_of(judgement)
        of_pair[unit.first, unit.second].append(judgement)
    reasons = reasons_of(judgements)
    pairs = _ordered(list(of_pair), model)
    rows = [_row(of_pair[min(pair), max(pair)], pair, reasons, rng, resamples) for pair in pairs]
    adjusted = holm([row.p_value for row in rows])
    return tuple(replace(row, p_holm=p) for row, p in zip(rows, adjusted, strict=True))


def _require_one_table(judgements: Sequence[Judgement]) -> None:
    if not judgements:
        raise ConfigError("comparison: there are no votes")
    tables = sorted({f"{judgement.question} of {judgement.kind}" for judgement in judgements})
    if len(tables) > 1:
        raise ConfigError(f"comparison: questions and kinds of raters do not mix, got {', '.join(tables)}; part them")


def _ordered(pairs: Sequence[tuple[str, str]], model: str | None) -> list[tuple[str, str]]:
    """The pairs to report, the model first."""
    models = {name for pair in pairs for name in pair}
    if model is None:
        common = set.intersection(*map(set, pairs))
        if len(pairs) == 1 or not common:
            return sorted(pairs)
        (model,) = common
    if model not in models:
        raise UnknownNameError("model", model, list(models))
    return sorted((model, one if two == model else two) for one, two in pairs if model in (one, two))


def _row(
    judgements: Sequence[Judgement],
    pair: tuple[str, str],
    reasons: Sequence[str],
    rng: np.random.Generator,
    resamples: int,
) -> ComparisonRow:
    """One row, its ``p_holm`` not adjusted yet."""
    model, baseline = pair
    outcomes = scores.item_outcomes(judgements, model)
    votes = scores.vote_outcomes(judgements, model)
    p_value = scores.score_test(judgements, model)
    return ComparisonRow(
        model=model,
        baseline=baseline,
        items=len(outcomes),
        images=len({judgement.image for judgement in judgements}),
        raters=len({judgement.rater for judgement in judgements}),
        votes=len(votes),
        wins=votes.count(1.0),
        losses=votes.count(0.0),
        ties=votes.count(0.5),
        tied_items=list(outcomes.values()).count(0.5),
        ti2v_score=scores.ti2v_score(judgements, model),
        ti2v_score_by_item=scores.ti2v_score_by_item(judgements, model),
        vote_score=scores.vote_score(judgements, model),
        vote_score_naive=scores.vote_score_naive(judgements, model),
        p_value=p_value,
        p_holm=p_value,
        reasons=reason_shares(judgements, model, reasons),
        agreement=agreement_of(judgements, rng, resamples),
        side=side_bias(judgements, rng, resamples),
    )
