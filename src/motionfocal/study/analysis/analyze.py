"""From votes to all that is said about them, and its file: ``analysis.json``."""

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import numpy as np

from motionfocal.errors import ConfigError
from motionfocal.intervals import LEVEL
from motionfocal.jsonl import without_nan
from motionfocal.study.analysis.agreement import agreement_of, unit_of
from motionfocal.study.analysis.contents import Agreement, AgreementWithPeople, Analysis, ComparisonRow, Ranking, Table
from motionfocal.study.analysis.orders import Settled, settle, with_people
from motionfocal.study.analysis.ranking import rank
from motionfocal.study.analysis.raters import rater_rows
from motionfocal.study.analysis.rows import comparison_rows
from motionfocal.study.analysis.sides import UNDEFINED, consistency, side_bias
from motionfocal.study.protocol import Judgement, Kind
from motionfocal.video.files import replace_text

Repeat = tuple[Judgement, Judgement]
"""A rater's first and second answer to a pair that was shown again with sides exchanged."""

_KINDS: tuple[str, ...] = get_args(Kind)

_LIBRARIES = ("motionfocal", "numpy", "scipy")


def analyze(
    judgements: Sequence[Judgement],
    name: str,
    *,
    model: str | None = None,
    repeats: Sequence[Repeat] = (),
    excluded: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = 2000,
) -> Analysis:
    """All tables of a study, one a question and kind of rater, people first; equal votes give an equal analysis.

    ``judgements`` are the votes that count; ``excluded`` names the raters whose votes do not, and why. ``model`` is the
    one that the others are baselines of; without it, see ``rows.comparison_rows``. Machine raters must have
    judged each pair in both orders: what changed with the order is an abstention.

    Raises:
        ConfigError: there is no vote, or what is no person judged a pair in one order only; the text names it.
        UnknownNameError: a table has no votes on ``model``.
    """
    if not judgements:
        raise ConfigError("analysis: there are no votes")
    tables, agreements = [], []
    for question in dict.fromkeys(judgement.question for judgement in judgements):
        asked = [judgement for judgement in judgements if judgement.question == question]
        people = [judgement for judgement in asked if judgement.kind == "person"]
        for kind in (kind for kind in get_args(Kind) if any(judgement.kind == kind for judgement in asked)):
            # A generator of its own: a table's figures do not depend on which others there are.
            rng = np.random.default_rng([seed, _KINDS.index(kind), *question.encode()])
            if kind == "person":
                again = [repeat for repeat in repeats if (repeat[0].question, repeat[0].kind) == (question, kind)]
                tables.append(_table_of_people(people, model, again, rng, resamples))
                continue
            answers = [judgement for judgement in asked if judgement.kind == kind]
            settled = settle(answers)
            tables.append(_table_of_others(answers, settled, model, rng, resamples))
            agreements += _against_people(settled, people, rng, resamples)
    return Analysis(
        name=name,
        tables=tuple(sorted(tables, key=lambda table: table.kind != "person")),
        with_people=tuple(agreements),
        excluded=dict(sorted((excluded or {}).items())),
        settings={
            "model": model,
            "seed": seed,
            "resamples": resamples,
            "level": LEVEL,
            "versions": {"python": platform.python_version()} | {library: version(library) for library in _LIBRARIES},
        },
    )


def write_analysis(analysis: Analysis, path: Path) -> None:
    """Write an analysis as JSON, field by field, NaN and infinity as null. Raises MediaError when it cannot be."""
    text = json.dumps(without_nan(asdict(analysis)), indent=1, allow_nan=False, ensure_ascii=False)
    replace_text(path, text + "\n")


def _table_of_people(
    votes: Sequence[Judgement],
    model: str | None,
    repeats: Sequence[Repeat],
    rng: np.random.Generator,
    resamples: int,
) -> Table:
    rows = comparison_rows(votes, model, rng, resamples)
    alone = rows[0] if len(rows) == 1 else None  # then table and row say the same, to the digit
    return Table(
        question=votes[0].question,
        kind=votes[0].kind,
        rows=rows,
        mean_score=_mean_score(rows),
        agreement=alone.agreement if alone else agreement_of(votes, rng, resamples),
        side=alone.side if alone else side_bias(votes, rng, resamples),
        consistency=consistency(repeats),
        ranking=rank(votes),
        raters=rater_rows(votes),
    )


def _table_of_others(
    answers: Sequence[Judgement], settled: Settled, model: str | None, rng: np.random.Generator, resamples: int
) -> Table:
    """A table of settled answers; what it says of sides is of all answers, in both orders."""
    kept = settled.judgements
    rows = comparison_rows(kept, model, rng, resamples) if kept else ()
    left = {row.rater: row.left for row in rater_rows(answers)}
    return Table(
        question=answers[0].question,
        kind=answers[0].kind,
        rows=tuple(_with_side_of(answers, row, rng, resamples) for row in rows),
        mean_score=_mean_score(rows),
        agreement=agreement_of(kept, rng, resamples) if kept else Agreement(*(UNDEFINED,) * 4, splits={}),
        side=side_bias(answers, rng, resamples),
        consistency=consistency(()),
        ranking=rank(kept, sides=False) if kept else Ranking((), None, None, connected=False, cycles=0),
        raters=tuple(replace(row, left=left[row.rater]) for row in rater_rows(kept)),
        abstained=len(settled.abstained),
        flips=settled.flips,
    )


def _with_side_of(
    answers: Sequence[Judgement], row: ComparisonRow, rng: np.random.Generator, resamples: int
) -> ComparisonRow:
    pair = {row.model, row.baseline}
    of_pair = [answer for answer in answers if {answer.left_model, answer.right_model} == pair]
    return replace(row, side=side_bias(of_pair, rng, resamples))


def _against_people(
    settled: Settled, people: Sequence[Judgement], rng: np.random.Generator, resamples: int
) -> list[AgreementWithPeople]:
    """Each rater that judged something of what people did, against their majority."""
    seen = {unit_of(judgement) for judgement in people}
    answers = (*settled.judgements, *settled.abstained)
    raters = sorted({answer.rater for answer in answers if unit_of(answer) in seen})
    return [with_people(_only(settled, rater), people, rng, resamples) for rater in raters]


def _only(settled: Settled, rater: str) -> Settled:
    kept = tuple(judgement for judgement in settled.judgements if judgement.rater == rater)
    return replace(settled, judgements=kept, abstained=tuple(j for j in settled.abstained if j.rater == rater))


def _mean_score(rows: Sequence[ComparisonRow]) -> float:
    return sum(row.ti2v_score.estimate for row in rows) / len(rows) if rows else math.nan
