"""What goes on in a study: progress, raters, agreement, pace and pay. It only reads."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import get_args

import numpy as np
from scipy.stats import binomtest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from motionfocal.study.analysis.agreement import agreement_of
from motionfocal.study.analysis.scores import ti2v_score
from motionfocal.study.analysis.sides import side_bias
from motionfocal.study.design import StudyDesign
from motionfocal.study.fieldwork.answered import Answered, answered
from motionfocal.study.fieldwork.overview import (
    CheckTally,
    Overview,
    PairProgress,
    PayEstimate,
    QuestionSoFar,
    RaterProgress,
    Score,
    Screening,
    TimeOnTask,
)
from motionfocal.study.fieldwork.records import ENDED, ImpressionRecord, RaterRecord, RaterState
from motionfocal.study.fieldwork.votes_of import judgements_of
from motionfocal.study.plan import Study
from motionfocal.study.protocol import Judgement
from motionfocal.study.raters.comparisons import machine_judgements

_RESAMPLES = 1000
_ENOUGH = 10
"""Answers before a rater's habit, or disagreement, is called odd."""


def overview(session: Session, study: Study, now: float, rng: np.random.Generator) -> Overview:
    """Everything that the admin page shows; ``rng`` draws the resamples of the intervals."""
    people = session.scalars(select(RaterRecord).order_by(RaterRecord.id)).all()
    votes = answered(session, study)
    pairs = _pairs(session, study, votes, now)
    rows = rater_rows(study, people, votes)
    at_work = [rater for rater in people if _is_at_work(rater, study.design, now)]
    return Overview(
        name=study.plan.name,
        now=now,
        pairs=pairs,
        questions=_questions(study, judgements_of(session, study), rng),
        raters=rows,
        machines=Counter(judgement.rater for judgement in machine_judgements(study)),
        checks=tallies(votes),
        time=_time_on_task(votes),
        pay=_pay(study.design, people, votes, pairs),
        screening=_screening(people, votes, len(at_work)),
        needed=_needed(study, rows, {rater.id for rater in at_work}, pairs),
        last_vote=max((vote.received for vote in votes), default=None),
    )


def rater_rows(study: Study, raters: Iterable[RaterRecord], votes: Sequence[Answered]) -> tuple[RaterProgress, ...]:
    """The figures of ``raters``; ``votes`` are everybody's, with which theirs are compared."""
    of_rater: dict[int, list[Answered]] = defaultdict(list)
    for vote in votes:
        of_rater[vote.rater].append(vote)
    usual, majority = _time_on_task(votes), _Majorities(votes)
    return tuple(_rater_row(study.design, rater, of_rater[rater.id], majority, usual) for rater in raters)


def tallies(votes: Sequence[Answered]) -> tuple[CheckTally, ...]:
    """How the checks among ``votes`` came out, by kind."""
    counts = Counter((vote.what, vote.passed) for vote in votes if vote.kind == "check")
    kinds = sorted({kind for kind, _ in counts})
    return tuple(CheckTally(kind, counts[kind, True], counts[kind, False], counts[kind, None]) for kind in kinds)


def _pairs(session: Session, study: Study, votes: Sequence[Answered], now: float) -> tuple[PairProgress, ...]:
    """Progress by pair of models, in the order of the plan."""
    valid = Counter(vote.target for vote in votes if vote.kind == "pair" and vote.state == "valid")
    open_tasks = (
        select(ImpressionRecord.target, func.count())
        .join(RaterRecord, RaterRecord.id == ImpressionRecord.rater_id)
        .where(ImpressionRecord.kind == "pair", ImpressionRecord.state == "open", ImpressionRecord.lease > now)
        .where(RaterRecord.excluded == "", RaterRecord.state.not_in(ENDED))
        .group_by(ImpressionRecord.target)
    )
    leases = dict(session.execute(open_tasks).all())
    by_models: dict[tuple[str, str], list[str]] = defaultdict(list)
    for pair in study.plan.pairs:
        models = sorted(
            (study.plan.clip(pair.first).model, study.plan.clip(pair.second).model), key=study.plan.models.index
        )
        by_models[models[0], models[1]].append(pair.id)
    wanted = study.design.votes
    return tuple(
        PairProgress(
            model=model,
            baseline=baseline,
            pairs=len(ids),
            complete=sum(valid[id_] >= wanted for id_ in ids),
            votes=sum(valid[id_] for id_ in ids),
            wanted=wanted * len(ids),
            leases=sum(leases.get(id_, 0) for id_ in ids),
        )
        for (model, baseline), ids in by_models.items()
    )


def _questions(study: Study, votes: Sequence[Judgement], rng: np.random.Generator) -> tuple[QuestionSoFar, ...]:
    """Scores, agreement and side bias of each question."""
    found = []
    for question in study.design.asked:
        said = [vote for vote in votes if vote.question == question.id]
        found.append(
            QuestionSoFar(
                id=question.id,
                text=question.text,
                scores=_scores(study, said),
                agreement=agreement_of(said, rng, _RESAMPLES) if said else None,
                side=side_bias(said, rng, _RESAMPLES) if said else None,
            )
        )
    return tuple(found)


def _scores(study: Study, votes: Sequence[Judgement]) -> tuple[Score, ...]:
    by_models: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for vote in votes:
        model, baseline = sorted((vote.left_model, vote.right_model), key=study.plan.models.index)
        by_models[model, baseline].append(vote)
    return tuple(
        Score(model, baseline, len({vote.item for vote in group}), len(group), ti2v_score(group, model))
        for (model, baseline), group in sorted(by_models.items(), key=lambda entry: _place(study, entry[0]))
    )


def _place(study: Study, models: tuple[str, str]) -> tuple[int, ...]:
    return tuple(map(study.plan.models.index, models))


class _Majorities:
    """What people chose, so that one of them can be held against the others."""

    def __init__(self, votes: Iterable[Answered]) -> None:
        self._chosen: dict[tuple[str, object], Counter[str]] = defaultdict(Counter)
        for vote in votes:
            if vote.kind == "pair" and vote.state == "valid":
                for answer in vote.answers:
                    self._chosen[vote.target, answer["question"]][vote.clip(answer)] += 1

    def sides_with_others(self, vote: Answered) -> list[bool]:
        """For each answer with a majority of the others: whether it is the same."""
        same = []
        for answer in vote.answers:
            others = self._chosen[vote.target, answer["question"]].copy()
            if vote.state == "valid":
                others[vote.clip(answer)] -= 1
            left, right = others[vote.left], others[vote.right]
            if left != right:
                same.append(vote.clip(answer) == (vote.left if left > right else vote.right))
        return same


def _rater_row(
    design: StudyDesign,
    rater: RaterRecord,
    votes: Sequence[Answered],
    majority: _Majorities,
    usual: TimeOnTask | None,
) -> RaterProgress:
    on_pairs = [vote for vote in votes if vote.kind == "pair"]
    chosen = _sides(on_pairs)
    sides = [side for of_question in chosen.values() for side in of_question]
    same = [same for vote in on_pairs for same in majority.sides_with_others(vote)]
    seconds = [vote.took for vote in votes if vote.kind != "training"]
    flags = Counter(flag for vote in votes for flag in vote.flags)
    checks = tallies(votes)
    odd = {
        "left": _leans(chosen.values()),
        "agrees": len(same) >= _ENOUGH and 2 * sum(same) < len(same),
        "seconds": usual is not None and len(seconds) >= _ENOUGH and 3 * float(np.median(seconds)) < usual.median,
        "checks": any(check.failed for check in checks if check.kind in design.checks.fail_on),
        "flags": 10 * sum(bool(vote.flags) for vote in votes) > len(votes),
    }
    return RaterProgress(
        id=rater.id,
        name=rater.name,
        source=rater.source,
        state=rater.state,
        joined=rater.joined,
        seen=rater.seen,
        excluded=rater.excluded,
        votes=sum(vote.state == "valid" for vote in on_pairs),
        void=sum(vote.state != "valid" for vote in on_pairs),
        checks=checks,
        left=sides.count("left") / len(sides) if sides else math.nan,
        agrees=sum(same) / len(same) if same else math.nan,
        compared=len(same),
        seconds=float(np.median(seconds)) if seconds else math.nan,
        flags=flags,
        comments=sum(vote.commented for vote in votes),
        odd=frozenset(name for name, is_odd in odd.items() if is_odd),
    )


def _sides(votes: Iterable[Answered]) -> dict[object, list[object]]:
    """By question, the sides that were chosen; ties left out."""
    chosen: dict[object, list[object]] = defaultdict(list)
    for vote in votes:
        for answer in vote.answers:
            if answer["choice"] != "tie":
                chosen[answer["question"]].append(answer["choice"])
    return chosen


def _leans(chosen: Iterable[Sequence[object]]) -> bool:
    """Whether left was chosen so often, or so seldom, that less than one in a hundred without a habit would.

    Two answers about one showing are no two choices of a side: each question is tested by itself, and the smallest
    p-value is multiplied by their number.
    """
    tested = [sides for sides in chosen if len(sides) >= _ENOUGH]
    p_values = [binomtest(sides.count("left"), len(sides)).pvalue for sides in tested]
    return bool(p_values) and len(p_values) * min(p_values) < 0.01


def _time_on_task(votes: Sequence[Answered]) -> TimeOnTask | None:
    took = [vote.took for vote in votes if vote.kind != "training"]
    if not took:
        return None
    lower, median, upper = np.quantile(took, [0.25, 0.5, 0.75])
    return TimeOnTask(len(took), float(lower), float(median), float(upper))


def _pay(
    design: StudyDesign, people: Sequence[RaterRecord], votes: Sequence[Answered], pairs: Sequence[PairProgress]
) -> PayEstimate | None:
    """The time of all people, those who failed as well, and as much a vote for all votes that are wanted."""
    if design.pay is None:
        return None
    times: dict[int, list[float]] = {rater.id: [rater.joined] for rater in people}
    for vote in votes:
        times[vote.rater].append(vote.received)
    seconds = sum(_worked(sorted(of_rater), design.lease_minutes * 60) for of_rater in times.values())
    hours = seconds / 3600
    valid, wanted = sum(pair.votes for pair in pairs), sum(pair.wanted for pair in pairs)
    expected = hours * max(1.0, wanted / valid) if valid else None
    return PayEstimate(hours, expected, design.pay.hourly, design.pay.currency)


def _worked(times: Sequence[float], pause: float) -> float:
    """Seconds between the first and the last of ``times``; what is longer than ``pause`` counts as that long."""
    return sum(min(after - before, pause) for before, after in pairwise(times))


def _screening(people: Sequence[RaterRecord], votes: Sequence[Answered], at_work: int) -> Screening:
    states = Counter(rater.state for rater in people)
    training = [vote for vote in votes if vote.kind == "training"]
    return Screening(
        states={state: states[state] for state in get_args(RaterState)},
        excluded=sum(bool(rater.excluded) for rater in people),
        at_work=at_work,
        trained=len({vote.rater for vote in training}),
        rounds=len({(vote.rater, vote.round) for vote in training}),
        answered=len(training),
        right=sum(vote.passed is True for vote in training),
    )


def _is_at_work(rater: RaterRecord, design: StudyDesign, now: float) -> bool:
    """Whether a rater may still vote, and was here within the last lease."""
    return rater.state not in ENDED and not rater.excluded and now - rater.seen < design.lease_minutes * 60


def _needed(study: Study, rows: Sequence[RaterProgress], at_work: set[int], pairs: Sequence[PairProgress]) -> int:
    """People still to be found: votes that are missing, less what those at work will give, by what one gives.

    That is the mean of those who are through, once there are enough of them: who failed gave nothing, so that
    replacements are counted. Before, it is what the design plans.
    """
    planned = min(round(study.design.tasks * (1 - study.design.checks.share)), len(study.plan.pairs))
    planned = max(1, planned)
    through = [row.votes for row in rows if row.state in ENDED or row.excluded]
    each = float(np.mean(through)) if len(through) >= _ENOUGH and any(through) else planned
    coming = sum(max(0, planned - row.votes) for row in rows if row.id in at_work)
    missing = sum(pair.wanted - pair.votes for pair in pairs)
    return max(0, math.ceil((missing - coming) / each))
