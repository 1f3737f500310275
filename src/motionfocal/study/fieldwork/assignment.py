"""What a rater is shown next. Call it within one writing transaction: then no pair is given out too often.

A rater never sees a pair twice. Of the pairs that still want votes those with fewest come first, drawn by the rater's
seed; sides are balanced within each pair, and where a pair is even, within the rater.
"""

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from motionfocal.study.fieldwork.checks import Task, check_places, draw_check
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord
from motionfocal.study.fieldwork.slots import Slots, slots
from motionfocal.study.plan import PairPlan, Study


@dataclass(frozen=True)
class Progress:
    """How many tasks a rater has answered of how many; ``total`` is exact in training, the most otherwise."""

    done: int
    total: int


def next_task(session: Session, study: Study, rater: RaterRecord, now: float) -> ImpressionRecord | None:
    """The task that the rater has open, or else a new one; None when there is none for them now.

    It ends the work of a rater who has done all that they may, or for whom nothing is left. While others still have the
    last places on lease, they may ask again.
    """
    if rater.excluded or rater.state not in ("training", "working"):
        return None
    rater.seen = now
    shown = _shown(session, rater)
    if rater.state == "training":
        task = _training_task(session, study, rater, shown, now)
    else:
        task = _resumed(session, study, shown, now) or _new_task(session, study, rater, shown, now)
    if task is None and _has_ended(session, study, shown):
        rater.state, rater.ended = "finished", now
    session.flush()
    return task


def progress(session: Session, study: Study, rater: RaterRecord) -> Progress:
    """Where the rater stands in what they are doing: the round of training, or the study."""
    shown = _shown(session, rater)
    if rater.state == "training":
        return Progress(_answered(_of_round(shown, rater)), len(study.plan.training))
    return Progress(_answered(_work(shown)), study.design.tasks)


def _shown(session: Session, rater: RaterRecord) -> list[ImpressionRecord]:
    """All that the rater has been shown, in its order."""
    impression = ImpressionRecord
    query = select(impression).where(impression.rater_id == rater.id).order_by(impression.id)
    return list(session.scalars(query))


def _work(shown: Sequence[ImpressionRecord]) -> list[ImpressionRecord]:
    return [impression for impression in shown if impression.kind != "training"]


def _of_round(shown: Sequence[ImpressionRecord], rater: RaterRecord) -> list[ImpressionRecord]:
    return [one for one in shown if one.kind == "training" and one.round == rater.round]


def _answered(shown: Sequence[ImpressionRecord]) -> int:
    """Tasks that were answered, whatever came of the answer."""
    return sum(impression.state in ("answered", "surplus", "void") for impression in shown)


def _resumed(session: Session, study: Study, shown: Sequence[ImpressionRecord], now: float) -> ImpressionRecord | None:
    """The open task, its lease renewed; given up when it was over and others have taken the pair's last place."""
    task = next((impression for impression in _work(shown) if impression.state == "open"), None)
    if task is None:
        return None
    if task.lease <= now and task.kind == "pair":
        taken = slots(session, now, [task.target]).get(task.target, Slots()).taken
        if taken >= study.design.votes:
            task.state = "expired"
            return None
    task.lease = now + 60 * study.design.lease_minutes
    return task


def _new_task(
    session: Session, study: Study, rater: RaterRecord, shown: Sequence[ImpressionRecord], now: float
) -> ImpressionRecord | None:
    number = _answered(_work(shown)) + 1
    if number > study.design.tasks:
        return None
    rng = np.random.default_rng([rater.seed, 2, number])
    kind = check_places(study.design.checks, study.design.tasks, rater.seed).get(number)
    check = draw_check(study, _work(shown), kind, rng) if kind else None
    if check is not None:
        return _show(session, study, rater, "check", number, check, now)
    pair = _draw_pair(session, study, shown, rng, now)
    return None if pair is None else _show(session, study, rater, "pair", number, pair, now)


def _draw_pair(
    session: Session, study: Study, shown: Sequence[ImpressionRecord], rng: np.random.Generator, now: float
) -> Task | None:
    """A pair that wants votes and that the rater has not seen, with its sides."""
    seen = {impression.target: impression.first_left for impression in shown if impression.kind == "pair"}
    taken = slots(session, now)
    wanted = [
        pair
        for pair in study.plan.pairs
        if pair.id not in seen and taken.get(pair.id, Slots()).taken < study.design.votes
    ]
    if not wanted:
        return None
    items = Counter(study.plan.pair(target).item for target in seen)
    order = [(taken.get(pair.id, Slots()).taken, items[pair.item]) for pair in wanted]
    least = min(order)
    best = [pair for pair, place in zip(wanted, order, strict=True) if place == least]
    pair = best[rng.integers(len(best))]
    first_left = _first_left(taken.get(pair.id, Slots()), list(seen.values()), rng)
    return _task_of(pair, first_left=first_left)


def _first_left(pair: Slots, rater: list[bool], rng: np.random.Generator) -> bool:
    """Whether the first clip stands on the left: even out the pair, else the rater, else draw."""
    lead = 2 * pair.first_left - pair.taken or 2 * sum(rater) - len(rater)
    return lead < 0 if lead else bool(rng.integers(2))


def _task_of(pair: PairPlan, *, first_left: bool) -> Task:
    sides = (pair.first, pair.second) if first_left else (pair.second, pair.first)
    return Task(pair.id, *sides, first_left)


def _has_ended(session: Session, study: Study, shown: Sequence[ImpressionRecord]) -> bool:
    """Whether nothing can be left for this rater, whatever becomes of the tasks that are out."""
    seen = {impression.target for impression in shown}
    answered = slots(session, math.inf)
    return _answered(_work(shown)) >= study.design.tasks or all(
        pair.id in seen or answered.get(pair.id, Slots()).taken >= study.design.votes for pair in study.plan.pairs
    )


def _training_task(
    session: Session, study: Study, rater: RaterRecord, shown: Sequence[ImpressionRecord], now: float
) -> ImpressionRecord | None:
    """The open example, or else the next one of the round."""
    of_round = _of_round(shown, rater)
    task = next((impression for impression in of_round if impression.state == "open"), None)
    if task is not None or len(of_round) >= len(study.plan.training):
        return task
    example = study.plan.training[len(of_round)]
    asked = Task(example.id, example.left, example.right, first_left=True)
    return _show(session, study, rater, "training", len(of_round) + 1, asked, now)


def _show(
    session: Session, study: Study, rater: RaterRecord, kind: str, number: int, task: Task, now: float
) -> ImpressionRecord:
    impression = ImpressionRecord(
        uid=secrets.token_urlsafe(16),
        rater_id=rater.id,
        kind=kind,
        target=task.target,
        round=rater.round if kind == "training" else 1,
        number=number,
        left=task.left,
        right=task.right,
        first_left=task.first_left,
        instructed=task.instructed,
        repeats=task.repeats,
        state="open",
        shown=now,
        lease=now + 60 * study.design.lease_minutes,
    )
    session.add(impression)
    session.flush()
    return impression
