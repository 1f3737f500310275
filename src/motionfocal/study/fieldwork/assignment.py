"""What a rater is shown next. Call it within one writing transaction: then no pair is given out too often.

A rater never sees a pair twice. Of the pairs that still want votes those with fewest come first, drawn by the rater's
seed; sides are balanced within each pair, and where a pair is even, within the rater.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from motionfocal.study.fieldwork.checks import Task, check_places, draw_check
from motionfocal.study.fieldwork.records import ImpressionRecord, RaterRecord
from motionfocal.study.fieldwork.slots import Slots, slots
from motionfocal.study.plan import PairPlan, Study

_WORK = ("pair", "check")


@dataclass(frozen=True)
class Progress:
    """How many tasks a rater has answered of how many; ``total`` is exact in training, the most otherwise."""

    done: int
    total: int


def next_task(session: Session, study: Study, rater: RaterRecord, now: float) -> ImpressionRecord | None:
    """The task that the rater has open, or else a new one; None when there is none for him.

    It ends the work of a rater who has done all that he may, or for whom nothing is left.
    """
    if rater.excluded:
        return None
    if rater.state == "training":
        return _training_task(session, study, rater, now)
    if rater.state != "working":
        return None
    rater.seen = now
    task = _resumed(session, study, rater, now) or _new_task(session, study, rater, now)
    if task is None:
        rater.state, rater.ended = "finished", now
    session.flush()
    return task


def progress(session: Session, study: Study, rater: RaterRecord) -> Progress:
    """Where the rater stands in what he is doing: the round of training, or the study."""
    if rater.state == "training":
        return Progress(_count(session, rater, ("training",), rater.round), len(study.plan.training))
    return Progress(_count(session, rater, _WORK), study.design.tasks)


def _count(session: Session, rater: RaterRecord, kinds: tuple[str, ...], round_: int = 1) -> int:
    """Tasks that were answered, whatever came of the answer."""
    impression = ImpressionRecord
    return int(
        session.scalar(
            select(func.count())
            .select_from(impression)
            .where(
                impression.rater_id == rater.id,
                impression.kind.in_(kinds),
                impression.round == round_,
                impression.state.in_(("answered", "surplus", "void")),
            )
        )
        or 0
    )


def _open(session: Session, rater: RaterRecord, kinds: tuple[str, ...]) -> ImpressionRecord | None:
    impression = ImpressionRecord
    return session.scalar(
        select(impression).where(
            impression.rater_id == rater.id, impression.state == "open", impression.kind.in_(kinds)
        )
    )


def _resumed(session: Session, study: Study, rater: RaterRecord, now: float) -> ImpressionRecord | None:
    """The open task, its lease renewed; given up when it was over and others have taken the pair's last place."""
    task = _open(session, rater, _WORK)
    if task is None:
        return None
    if task.lease <= now and task.kind == "pair":
        taken = slots(session, now, [task.target]).get(task.target, Slots()).taken
        if taken >= study.design.votes:
            task.state = "expired"
            session.flush()
            return None
    task.lease = now + 60 * study.design.lease_minutes
    return task


def _new_task(session: Session, study: Study, rater: RaterRecord, now: float) -> ImpressionRecord | None:
    number = _count(session, rater, _WORK) + 1
    if number > study.design.tasks:
        return None
    rng = np.random.default_rng([rater.seed, 2, number])
    kind = check_places(study.design.checks, study.design.tasks, rater.seed).get(number)
    check = draw_check(session, study, rater, kind, rng) if kind else None
    if check is not None:
        return _show(session, study, rater, "check", number, check, now)
    pair = _draw_pair(session, study, rater, rng, now)
    return None if pair is None else _show(session, study, rater, "pair", number, pair, now)


def _draw_pair(session: Session, study: Study, rater: RaterRecord, rng: np.random.Generator, now: float) -> Task | None:
    """A pair that wants votes and that the rater has not seen, with its sides."""
    shown = list(
        session.execute(
            select(ImpressionRecord.target, ImpressionRecord.first_left).where(
                ImpressionRecord.rater_id == rater.id, ImpressionRecord.kind == "pair"
            )
        )
    )
    seen = {target for target, _ in shown}
    taken = slots(session, now)
    wanted = [
        pair
        for pair in study.plan.pairs
        if pair.id not in seen and taken.get(pair.id, Slots()).taken < study.design.votes
    ]
    if not wanted:
        return None
    items = [study.plan.pair(target).item for target in seen]
    order = [(taken.get(pair.id, Slots()).taken, items.count(pair.item)) for pair in wanted]
    best = [pair for pair, place in zip(wanted, order, strict=True) if place == min(order)]
    pair = best[rng.integers(len(best))]
    first_left = _first_left(taken.get(pair.id, Slots()), [left for _, left in shown], rng)
    return _task_of(pair, first_left=first_left)


def _first_left(pair: Slots, rater: list[bool], rng: np.random.Generator) -> bool:
    """Whether the first clip stands on the left: even out the pair, else the rater, else draw."""
    lead = 2 * pair.first_left - pair.taken or 2 * sum(rater) - len(rater)
    return lead < 0 if lead else bool(rng.integers(2))


def _task_of(pair: PairPlan, *, first_left: bool) -> Task:
    sides = (pair.first, pair.second) if first_left else (pair.second, pair.first)
    return Task(pair.id, *sides, first_left)


def _training_task(session: Session, study: Study, rater: RaterRecord, now: float) -> ImpressionRecord | None:
    """The open example, or else the next one of the round."""
    task = _open(session, rater, ("training",))
    if task is None:
        number = _count(session, rater, ("training",), rater.round)
        if number >= len(study.plan.training):
            return None
        example = study.plan.training[number]
        shown = Task(example.id, example.left, example.right, first_left=True)
        task = _show(session, study, rater, "training", number + 1, shown, now)
    rater.seen = now
    session.flush()
    return task


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
